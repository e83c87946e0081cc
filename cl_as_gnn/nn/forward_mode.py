"""Forward-mode differentiation, which PyTorch's custom operators ignore without a word."""

from __future__ import annotations

from torch import Tensor
from torch.autograd import forward_ad


def forward_mode(*inputs: Tensor) -> bool:
    """Whether an input carries a tangent, of ``torch.func.jvp`` or a dual tensor: then run plain operations, which
    differentiate it."""
    level: int = forward_ad._current_level
    return level >= 0 and any(forward_ad.unpack_dual(x).tangent is not None for x in inputs)
