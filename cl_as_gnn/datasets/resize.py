"""Crop and resize by two matrix products per image: each side is resampled by a matrix of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def interpolation(start: Tensor, length: Tensor, source: int, target: int, mirrored: Tensor | None = None) -> Tensor:
    """Matrices ``(B, target, source)`` that cut out ``length`` pixels from ``start`` on and resize them to ``target``.

    The triangle filter is as wide as a target pixel, at least a source pixel, and reads nothing outside the crop. Every
    row sums to one. ``mirrored`` ``(B,)`` reverses the order of the rows.
    """
    start, length = start.unsqueeze(1), length.unsqueeze(1)
    step = length / target
    reach = step.clamp(min=1)
    center = start + (torch.arange(target, device=start.device) + 0.5) * step
    if mirrored is not None:
        center = torch.where(mirrored.unsqueeze(1), center.flip(1), center)
    pixel = torch.arange(source, device=start.device) + 0.5
    pixel = torch.where((pixel > start) & (pixel < start + length), pixel, math.inf)
    distance = (pixel.unsqueeze(1) - center.unsqueeze(2)).abs_()
    weight = distance.div_(-reach.unsqueeze(2)).add_(1).clamp_(min=0)
    return weight.div_(weight.sum(-1, keepdim=True))


def center_square(images: Tensor, aspect: Tensor | None, side: int) -> Tensor:
    """Resize the center square of each picture.

    Args:
        images: uint8 ``(B, C, P, P)``, whole pictures resized to squares.
        aspect: width / height of the pictures, ``(B,)``; None if they are squares.
        side: S.

    Returns:
        uint8 ``(B, C, S, S)``; the images themselves if nothing is to be done.
    """
    batch, channels, height, width = images.shape
    if aspect is None:
        if height == width == side:
            return images
        aspect = images.new_full((batch,), width / height, dtype=torch.float32)
    # A crop holds the center of a pixel at least.
    wide, tall = (aspect.reciprocal() * width).clamp(1.5, width), (aspect * height).clamp(1.5, height)
    columns = interpolation((width - wide) / 2, wide, width, side)
    rows = interpolation((height - tall) / 2, tall, height, side)
    planes = images.reshape(batch, channels * height, width).float().bmm(columns.mT).view(batch, channels, height, side)
    out = rows.unsqueeze(1) @ planes
    return out.round_().clamp_(0, 255).to(torch.uint8)
