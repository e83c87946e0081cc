"""The graph of each node, as PyG's ``batch``."""

from __future__ import annotations

from torch import Tensor


def check_batch(batch: Tensor | None, nodes: int) -> None:
    """``ValueError`` unless ``batch`` is none, or has one entry a node."""
    if batch is not None and batch.shape != (nodes,):
        raise ValueError(f"batch has the graph of each of {nodes} nodes, so {nodes} entries: got {tuple(batch.shape)}")
