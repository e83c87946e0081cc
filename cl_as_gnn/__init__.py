"""Contrastive learning as message passing, on PyTorch Geometric."""

__version__ = "0.2.0"
