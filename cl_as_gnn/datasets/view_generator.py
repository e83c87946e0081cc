"""A view generator: an invertible change of colors, learned so that groups of channels share little."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cl_as_gnn.compat import tracked
from cl_as_gnn.config.data import SPACES
from cl_as_gnn.datasets.images import ImageData, Split, at_once
from cl_as_gnn.datasets.resize import center_square
from cl_as_gnn.errors import ConfigError

_KEY = "cl_as_gnn_views"
_CHUNK, _CACHED = 512, 64  # images that are read, and that are colored at a time
# Analog SECAM: Y from 0 to 1, Db and Dr from −4/3 to 4/3 for R, G and B from 0 to 1.
_YDBDR = ((0.299, 0.587, 0.114), (-0.450, -0.883, 1.333), (-1.333, 1.116, 0.217))
_RANGES = {"rgb": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), "ydbdr": ((0.0, -1.333, -1.333), (1.0, 1.333, 1.333))}


class Coupling(nn.Module):
    r"""An additive coupling, :math:`x_c \leftarrow x_c + F(x_{\text{others}})`, which its inverse subtracts again.

    F is 1×1(2→h)–ReLU–1×1(h→1). Its last layer starts at zero, and with it the coupling as the identity. The Jacobian
    is triangular with ones on its diagonal: :math:`\log|\det| = 0`.

    Args:
        channel: c, the channel that changes.
        hidden: h.
    """

    def __init__(self, channel: int, hidden: int):
        super().__init__()
        self.channel, self.others = channel, [c for c in range(3) if c != channel]
        self.into, self.out = nn.Linear(2, hidden), nn.Linear(hidden, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, sign: int = 1) -> Tensor:
        """Add F (``sign`` 1), or subtract it (−1): ``(n, 3, H, W)`` to the same shape."""
        # As products over all pixels: convolutions of so few channels take ten times as long on a CPU.
        pixels = x[:, self.others].transpose(0, 1).flatten(1)
        hidden = torch.addmm(self.into.bias.unsqueeze(1), self.into.weight, pixels).relu()
        shift = torch.addmm(self.out.bias.unsqueeze(1), self.out.weight, hidden)
        planes = list(x.split(1, 1))
        planes[self.channel] = planes[self.channel] + sign * shift.view_as(planes[0])
        return torch.cat(planes, 1)


class ViewGenerator(nn.Module):
    r"""A volume-preserving flow of the colors of a pixel, the view generator of InfoMin.

    Tian et al., "What Makes for Good Views for Contrastive Learning?", NeurIPS 2020, section 5:
    :math:`g = F_3 \circ F_2 \circ F_1 \circ M`, M the fixed matrix of a color space and :math:`F_c` the coupling of
    channel c. It acts on each pixel alone and is inverted exactly; :math:`|\det \partial g / \partial x| = |\det M|`
    everywhere. Information is moved between the channels, none is lost.

    Args:
        space: ``rgb``, or ``ydbdr`` as in SECAM, from R, G and B between 0 and 1 without gamma correction.
        hidden: channels between the two convolutions of a coupling.
    """

    def __init__(self, space: str = "rgb", hidden: int = 8):
        super().__init__()
        if space not in SPACES:
            raise ConfigError(f"space={space}: there are {' and '.join(SPACES)}")
        self.space, self.hidden = space, hidden
        matrix = torch.eye(3) if space == "rgb" else torch.tensor(_YDBDR)
        self.matrix = nn.Buffer(matrix, persistent=False)
        low, high = (torch.tensor(end).view(3, 1, 1) for end in _RANGES[space])
        self.low, self.high = nn.Buffer(low), nn.Buffer(high)  # of the values that 8 bits hold
        self.couplings = nn.ModuleList(Coupling(channel, hidden) for channel in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Map RGB images ``(n, 3, H, W)``, from 0 to 1, to generated channels of the same shape."""
        x = _mixed(self.matrix, x)
        for coupling in self.couplings:
            x = coupling(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """Map generated channels back to RGB."""
        for coupling in reversed(self.couplings):
            y = coupling(y, -1)
        return _mixed(torch.linalg.inv(self.matrix.to(y.dtype)), y)

    @torch.no_grad()
    def fit_range(self, x: Tensor) -> None:
        """Choose the values that 8 bits hold: all but the outermost 0.1 % at either end of those of ``x``."""
        values = self(x).transpose(0, 1).flatten(1).sort(1).values
        edge = round(0.001 * (values.size(1) - 1))
        low, high = values[:, edge], values[:, -1 - edge]
        self.low.copy_(low.view(3, 1, 1))
        self.high.copy_(torch.maximum(high, low + 1e-3).view(3, 1, 1))

    @torch.no_grad()
    def images(self, images: Tensor) -> Tensor:
        """Map uint8 RGB images ``(n, 3, H, W)`` to uint8 images of the generated channels."""
        parts = [self.levels(part.to(self.low.dtype) / 255).byte() for part in images.split(_CACHED)]
        return torch.cat(parts) if parts else images

    def levels(self, x: Tensor) -> Tensor:
        """Map RGB images from 0 to 1 to whole numbers from 0 to 255, those of :meth:`images`."""
        out: Tensor = ((self(x) - self.low) * (255 / (self.high - self.low))).round().clamp(0, 255)
        return out

    def save(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write the weights as safetensors, with the settings and ``about`` in the header."""
        meta = {"space": self.space, "hidden": self.hidden, **about}
        state = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        save_file(state, path, metadata={_KEY: json.dumps(meta)})


def _mixed(matrix: Tensor, x: Tensor) -> Tensor:
    """Each pixel of ``(n, 3, H, W)`` times a matrix ``(3, 3)``."""
    pixels = x.transpose(0, 1)
    return (matrix.to(x.dtype) @ pixels.flatten(1)).view_as(pixels).transpose(0, 1)


def load_generator(name: str) -> ViewGenerator:
    """Load a frozen generator by the file that ``clgnn views`` wrote, or by the name of a color space.

    Raises:
        ConfigError: there is no such file, or it is damaged or no generator.
    """
    if name in SPACES:
        return ViewGenerator(name, 1).requires_grad_(False).eval()
    if not Path(name).is_file():
        raise ConfigError(f"data.generator={name}: there is no such file, write it with clgnn views --out {name}")
    try:
        with safe_open(name, framework="pt") as file:
            meta: dict[str, Any] = json.loads((file.metadata() or {})[_KEY])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
        generator = ViewGenerator(str(meta["space"]), int(meta["hidden"]))
        generator.load_state_dict(state)
        if not all(bool(value.isfinite().all()) for value in generator.state_dict().values()):
            raise ValueError("weights are not finite")
    except Exception as error:  # safetensors has its own type for a broken file
        raise ConfigError(
            f"data.generator={name} cannot be read ({type(error).__name__}): it is no file of clgnn views, or damaged; "
            f"write it again with clgnn views --out"
        ) from None
    return generator.requires_grad_(False).eval()


def generated(data: ImageData, generator: ViewGenerator, name: str, progress: bool = True) -> ImageData:
    """Let a frozen generator color all images of a data set once.

    Args:
        data: RGB images in memory.
        generator: the generator.
        name: its file or color space, for messages.
        progress: show a bar on stderr.

    Raises:
        ConfigError: the images are gray or read by the batch.
    """
    if data.channels != 3:
        raise ConfigError(f"data.generator={name} changes colors, and {data.name} has {data.channels} channel: drop it")
    splits: dict[str, Any] = {}
    for key in ("train", "validation", "test"):
        split: Split = getattr(data, key)
        if not isinstance(split.images, Tensor):
            raise ConfigError(
                f"data.generator={name} colors images in memory, and those of {data.name} are read by the batch: raise "
                "data.memory"
            )
        parts = split.images.split(_CHUNK)
        bar = tracked(parts, "Generating colors", len(parts), progress and len(parts) > 1)
        images = torch.cat([generator.images(part) for part in bar]) if len(split) else split.images
        splits[key] = replace(split, images=images)
    return replace(data, **splits, notes=(*data.notes, f"colors by data.generator={name}"))


def colored(split: Split, side: int, name: str | None) -> Iterator[Tensor]:
    """The batches of a split, as ``split.batches``, colored by a generator before they are resized if one is named."""
    if name is None:
        yield from split.batches(side)
        return
    generator = load_generator(name)
    for index in torch.arange(len(split)).split(at_once(side)):
        images, aspect = split.read(index)
        yield center_square(generator.images(images), aspect, side)
