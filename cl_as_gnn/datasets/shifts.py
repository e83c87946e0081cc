"""Shifts of test images: what the views of training need not have shown, by the batch and the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from cl_as_gnn.datasets.augment import rotated
from cl_as_gnn.errors import ConfigError, unknown

ANGLES = (30.0, 45.0)
"""Degrees of a rotation, drawn uniformly, either way."""
NOISE = 0.15
"""Standard deviation of the noise on the scale [0, 1]."""
HOLE = 0.5
"""Side of the square that is cut out, as a share of the image's."""

Draw = Callable[..., Tensor]


def blur_sigma(side: int) -> float:
    """Standard deviation of the blur in pixels: 1 px, and of images wider than 56 px a 56th of the side."""
    return max(1.0, side / 56)


def _rotate(images: Tensor, draw: Draw) -> Tensor:
    u = draw(len(images), 2)
    angle = (ANGLES[0] + (ANGLES[1] - ANGLES[0]) * u[:, 0]) * torch.where(u[:, 1] < 0.5, -1, 1)
    return rotated(images.permute(0, 2, 3, 1), torch.deg2rad(angle)).permute(0, 3, 1, 2)


def _blur(images: Tensor, draw: Draw) -> Tensor:
    sigma = blur_sigma(images.size(-1))
    reach = min(math.ceil(3 * sigma), images.size(-1) - 1)
    blurred: Tensor = functional.gaussian_blur(images, [2 * reach + 1] * 2, [sigma] * 2)
    return blurred


def _noise(images: Tensor, draw: Draw) -> Tensor:
    return images + 255 * NOISE * draw(*images.shape, normal=True)


def _cutout(images: Tensor, draw: Draw) -> Tensor:
    side = images.size(-1)
    hole = max(1, round(HOLE * side))
    first = (draw(len(images), 2, 1) * (side - hole + 1)).floor()
    at = torch.arange(side, device=images.device)
    inside = (first <= at) & (at < first + hole)  # rows and columns of each image, (n, 2, side)
    square = (inside[:, 0, :, None] & inside[:, 1, None, :]).unsqueeze(1)
    return torch.where(square, images.mean((2, 3), keepdim=True), images)


def _grey(images: Tensor, draw: Draw) -> Tensor:
    grey: Tensor = functional.rgb_to_grayscale(images, num_output_channels=3) if images.size(1) == 3 else images
    return grey


_SHIFTS: dict[str, Callable[[Tensor, Draw], Tensor]] = {
    "rotate": _rotate,
    "blur": _blur,
    "noise": _noise,
    "cutout": _cutout,
    "grey": _grey,
}


def shifted(batches: Iterable[Tensor], name: str) -> Iterator[Tensor]:
    """Shift images batch by batch. Each image has its own draw; the draws are the same in every call and on any device.

    - ``rotate``: by 30 to 45 degrees, either way, black outside.
    - ``blur``: by a Gaussian of :func:`blur_sigma`, reflected at the borders.
    - ``noise``: Gaussian, of standard deviation 0.15 on the scale [0, 1], in each channel.
    - ``cutout``: a square of half the side, anywhere within the image, filled with the image's mean color.
    - ``grey``: the luma in place of the colors. Images of one channel stay as they are.

    Args:
        batches: uint8 images ``(n, C, S, S)``.
        name: of the shift.

    Returns:
        uint8 images of the same shapes and devices.

    Raises:
        ConfigError: no shift has the name.
    """
    if name not in _SHIFTS:
        raise ConfigError(unknown("shift", name, _SHIFTS, key="eval.shifts"))
    return _shifted(batches, _SHIFTS[name])


def _shifted(batches: Iterable[Tensor], change: Callable[[Tensor, Draw], Tensor]) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for images in batches:

        def draw(*shape: int, normal: bool = False, device: torch.device = images.device) -> Tensor:
            return (torch.randn if normal else torch.rand)(shape, generator=generator).to(device)

        yield change(images.float(), draw).round().clamp(0, 255).byte().contiguous()


def told(name: str, side: int) -> str:
    """What a shift does to images of a side in pixels, in a phrase."""
    return {
        "rotate": f"rotate {ANGLES[0]:g} to {ANGLES[1]:g}° either way",
        "blur": f"blur σ = {blur_sigma(side):.3g} px",
        "noise": f"noise σ = {NOISE:g} of white",
        "cutout": f"cutout of a square of {HOLE:g} of the side",
        "grey": "grey",
    }[name]
