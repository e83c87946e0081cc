"""k-nearest-neighbor edges by cosine similarity, exact, and their components."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from cl_as_gnn.errors import NotFiniteError
from cl_as_gnn.graph.largest import GROUP, largest
from cl_as_gnn.graph.pruned import find_bounds, top_of_bounds
from cl_as_gnn.nn.checks import Got, check_choice, check_count, check_features, expects
from cl_as_gnn.nn.exact import exact_products
from cl_as_gnn.nn.streaming.tiles import entries
from cl_as_gnn.nn.unit import moderate, unit_rows

BACKENDS = ("auto", "faiss", "torch")
# A GPU asks faiss above so many similarities (256 MB): faiss holds memory of its own there. Chosen by the reports of
# others, not measured. A CPU asks it up to so many: the BLAS of faiss is several times slower than torch's on some
# processors.
_FEW, _MANY = 2**26, 2**18
_ROWS = 256  # queries at a time from which a product is as fast as it can be


@lru_cache(maxsize=1)
def _has_faiss() -> bool:
    return find_spec("faiss") is not None


@lru_cache(maxsize=8)
def _gpu_resources(device: int) -> Any:
    import faiss
    import faiss.contrib.torch_utils

    resources = faiss.StandardGpuResources()
    resources.setDefaultNullStreamAllDevices()
    return resources


def _choose(backend: str, device: torch.device, pairs: int) -> str:
    if backend == "faiss" and not _has_faiss():
        cure = "pip install faiss-cpu, or use backend='torch'"
        raise expects("kNN search", "backend", "as 'auto' or 'torch' without faiss", backend, cure)
    if backend != "auto":
        return backend
    served = {"cpu": pairs <= _MANY, "cuda": pairs > _FEW}.get(device.type, False)
    if not served or not _has_faiss():
        return "torch"
    import faiss

    return "faiss" if device.type == "cpu" or faiss.get_num_gpus() > 0 else "torch"


def _found(similarity: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """What faiss found on a GPU. Of NaN it finds row −1, and to look that up would end the process: so it is some row,
    and its similarity NaN."""
    return similarity.masked_fill(index < 0, math.nan), index.clamp(min=0)


@torch.no_grad()
def top_products(
    key: Tensor, query: Tensor, k: int, rows: int, *, others: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The k largest inner products of each query with the keys and their indices, best first, ``rows`` queries a time.

    Memory holds ``rows`` × n products, allocated once: fresh pages would cost as much as the products themselves. Wide
    rows near a subspace are not all multiplied (:mod:`cl_as_gnn.graph.pruned`); the result is the same.

    Args:
        key: rows to find ``(n, d)``.
        query: rows ``(m, d)`` of the same type, on the same device.
        k: how many, at most n.
        rows: queries at a time.
        others: query i is key i, which it must not find; k is then at most n − 1.
    """
    n = len(key)
    with _in_full(key.device):
        bounds = find_bounds(key, query, k)
    left, right = (query, key) if bounds is None else (bounds.query, bounds.key)
    products = key.new_full((min(rows, len(query)), -(-n // GROUP) * GROUP), -math.inf)
    for start in range(0, len(query), rows):
        part = query[start : start + rows]
        strip = products[: len(part)]
        found = strip[:, :n]
        with _in_full(key.device):
            torch.mm(left[start : start + rows], right.t(), out=found)
            if others:
                found.diagonal(start).fill_(-math.inf)
            if bounds is None:
                product, index = largest(strip, k)
            else:
                product, index = top_of_bounds(bounds, strip, key, part, k, start)
        best, order = product.topk(k, dim=1)
        yield best, index.gather(1, order)


@contextmanager
def _in_full(device: torch.device) -> Iterator[None]:
    """Products in the precision of their factors, since a lower one loses neighbors."""
    with torch.autocast(device.type, enabled=False), exact_products(device):
        yield


def search(
    key: Tensor, query: Tensor, k: int, backend: str = "auto", caller: str = "kNN search"
) -> tuple[Tensor, Tensor]:
    r"""The k keys of largest inner product with each query: ``(similarity, index)``, both ``(n_q, k)``, best first.

    Exact (a flat index). Rows are used as they are: normalize them for cosine similarity. The similarities come from
    float32 and carry no gradient. Features that are not finite are an error on a CPU. A GPU does not wait to look for
    them: their similarities are NaN, and with them the loss.
    """
    check_count(caller, most=key.size(0), cure="that is the number of nodes", k=k)
    check_choice(caller, BACKENDS, backend=backend)
    key, query = key.detach().float().contiguous(), query.detach().float().contiguous()
    if key.device.type == "cpu" and not (key.isfinite().all() and query.isfinite().all()):
        raise expects(caller, "x", "as finite features", Got("NaN or infinity"), error=NotFiniteError)
    if _choose(backend, key.device, key.size(0) * query.size(0)) == "torch":
        rows = max(1, entries("strip", key.device, key.dtype) // key.size(0))
        rows = max(rows, min(_ROWS, 4 * rows))
        similarities, indices = zip(*top_products(key, query, k, rows), strict=True)
        return torch.cat(similarities), torch.cat(indices)
    import faiss

    if key.device.type == "cuda":
        device = key.device.index or 0
        similarity, index = faiss.knn_gpu(
            _gpu_resources(device), query, key, k, metric=faiss.METRIC_INNER_PRODUCT, device=device
        )
        return _found(similarity, index)
    found = faiss.knn(query.numpy(), key.numpy(), k, metric=faiss.METRIC_INNER_PRODUCT)
    return torch.from_numpy(found[0]), torch.from_numpy(found[1])


def nearest(x: Tensor, k: int, backend: str = "auto", caller: str = "kNN") -> tuple[Tensor, Tensor]:
    r"""The k nearest other rows of each row by cosine similarity: ``(similarity, index)``, both ``(n, k)``.

    A row is never its own neighbor, also where other rows equal it. Raises ``ValueError`` unless 1 ≤ k < n.
    """
    check_features(caller, x, real=True, cure="pass x.view(-1, d)")
    n = x.size(0)
    check_count(caller, most=n - 1, cure=f"a node of {n} has {n - 1} others", k=k)
    x = x.detach()
    unit = unit_rows((moderate(x) if x.dtype == torch.float64 else x).float())
    similarity, index = search(unit, unit, k + 1, backend, caller)
    # Drop the row itself where it was found; where duplicates displaced it, drop the last of k + 1.
    own = index == torch.arange(n, device=x.device).unsqueeze(1)
    order = torch.arange(k, device=x.device) + own[:, :k].cumsum(1)
    return similarity.gather(1, order), index.gather(1, order)


def knn_edges(x: Tensor, k: int, backend: str = "auto") -> tuple[Tensor, Tensor]:
    r"""Edges from each node's k nearest other nodes by cosine similarity.

    Args:
        x: features ``(n, d)`` of any length; rows are normalized here.
        k: neighbors per node, 1 ≤ k < n.
        backend: ``"faiss"`` (flat inner-product search, on the GPU for CUDA tensors), ``"torch"`` (matrix product and
            top-k; on a CPU, of wide features near a subspace, of the pairs that bounds leave), both exact; or
            ``"auto"``: faiss where it is installed for up to 512 nodes on a CPU and from 8,193 on a GPU, else torch.

    Returns:
        ``edge_index`` ``(2, n·k)`` with row 0 the neighbors and row 1 the queries (messages flow from a neighbor to
        the node that chose it), grouped by query, nearest first; and the cosine similarities ``(n·k,)``. No
        self-matches. Neither carries a gradient.

    Raises:
        ValueError: if k is not in 1 … n−1, the backend is unknown or missing, or features are not finite.
    """
    similarity, index = nearest(x, k, backend, "knn_edges")
    target = torch.arange(x.size(0), device=x.device).repeat_interleave(k)
    return torch.stack([index.flatten(), target]), similarity.flatten()


@torch.no_grad()
def nearest_components(x: Tensor) -> Tensor:
    """Connected component of each node in the 1-NN graph of features ``(n, d)``: ``(n,)`` labels, each a node's index.

    Every node points to one other, so each component holds one cycle, and walks of n steps by pointer doubling end in
    it: O(n log n) on the device, no sparse matrix.
    """
    n = x.size(0)
    least = torch.arange(n, device=x.device)
    if n < 2:
        return least
    ahead = nearest(x, 1)[1].squeeze(1)
    for _ in range(n.bit_length()):
        least, ahead = torch.minimum(least, least[ahead]), ahead[ahead]
    # `least` is the smallest index on a node's walk: for a node of the cycle, that of the cycle.
    return least[ahead]
