"""Products in float32 that are float32, whatever precision the user allows elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


def exact_products(device: torch.device) -> AbstractContextManager[None]:
    """Keep TF32, or the bfloat16 of a CPU, out of products in float32.

    ``torch.set_float32_matmul_precision`` below ``"highest"`` would cost the accuracy that all pairs and kNN promise.
    A compiled graph keeps the setting of its caller.
    """
    return nullcontext() if torch.compiler.is_compiling() else _exact(device)


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    products = (torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn).matmul
    allowed = products.fp32_precision
    if allowed != "ieee":
        products.fp32_precision = "ieee"
    try:
        yield
    finally:
        if allowed != "ieee":
            products.fp32_precision = allowed
