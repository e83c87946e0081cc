"""From features to the plane of the map, and to clusters."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import networkx as nx
import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import Tensor

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph.knn import knn_edges

Array = np.ndarray[Any, Any]
Plane = Literal["auto", "umap", "tsne", "pca"]
PLANES: tuple[Plane, ...] = ("auto", "umap", "tsne", "pca")
_K = 15
"""Neighbors of a sample in the graph of UMAP and of the clusters."""
_ITERATIONS = 500
# Coarser than scikit-learn's 0.5, a fifth faster, and as trustworthy (docs/speed.md).
_ANGLE = 0.8
_LEAST = 10  # samples below which neighborhoods say little


def check_plane(plane: Plane) -> None:
    """Raise ConfigError if a method for the map is not known or not installed."""
    if plane not in PLANES:
        raise ConfigError(f"--map {plane}: choose {', '.join(PLANES)}")
    if plane == "umap" and not find_spec("umap"):
        raise ConfigError("--map umap expects the package umap-learn: pip install 'cl-as-gnn[umap]', or use --map tsne")


def planes(x: Tensor, plane: Plane = "auto", seed: int = 0) -> dict[str, Array]:
    """Coordinates ``(n, 2)`` of unit features ``(n, d)`` by the name of the method, the one to show first.

    ``auto``: UMAP where it is installed, else t-SNE; both beside PCA. With few samples, PCA alone.
    """
    flat = {"PCA": principal_axes(x)[0]}
    if plane == "pca" or len(x) < _LEAST:
        return flat
    if plane == "umap" or (plane == "auto" and find_spec("umap")):
        return {"UMAP": _umap(x.numpy(), seed), **flat}
    return {"t-SNE": _tsne(x.numpy(), seed), **flat}


def principal_axes(x: Tensor) -> tuple[Array, float]:
    """Coordinates ``(n, 2)`` on the two principal axes, and their share of the variance."""
    centered = (x - x.mean(0)).double()
    _, scale, axes = torch.linalg.svd(centered, full_matrices=False)
    axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()  # fixes the sign of each axis
    points = torch.nn.functional.pad(centered @ axes.T, (0, 2 - len(axes)))
    total = float(scale.square().sum())
    return points.numpy(), float(scale[:2].square().sum()) / total if total > 0 else 1.0


def _tsne(x: Array, seed: int) -> Array:
    perplexity = min(30.0, (len(x) - 1) / 3)
    start = "pca" if x.shape[1] > 1 else "random"
    model = TSNE(init=start, random_state=seed, max_iter=_ITERATIONS, perplexity=perplexity, angle=_ANGLE)
    points: Array = model.fit_transform(x)
    return points


def _umap(x: Array, seed: int) -> Array:
    import umap

    model = umap.UMAP(n_neighbors=min(_K, len(x) - 1), metric="cosine", random_state=seed, n_jobs=1)
    points: Array = model.fit_transform(x)
    return points


def clusters(x: Tensor, seed: int = 0) -> Array:
    """The community of each row in the kNN graph of unit features (Louvain), ``(n,)``, the largest first."""
    k = min(_K, len(x) - 1)
    net = nx.Graph()
    net.add_nodes_from(range(len(x)))
    if k > 0:
        edges, similarity = knn_edges(x, k)
        pairs = zip(*edges.tolist(), similarity.clamp(min=1e-3).tolist(), strict=True)
        net.add_weighted_edges_from(pairs)
    found = sorted(nx.community.louvain_communities(net, seed=seed), key=lambda c: (-len(c), min(c)))
    out = np.zeros(len(x), dtype=int)
    for number, members in enumerate(found):
        out[list(members)] = number
    return out
