"""Random views of a whole batch at once: every image has its own draw, and no loop runs over images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets.images import Split, evenly
from cl_as_gnn.datasets.resize import interpolation
from cl_as_gnn.errors import ConfigError

TRIES = 10
"""Candidate crops per view, as in torchvision."""

BLUR_SIGMA = (0.1, 2.0)
"""Standard deviation of the blur in pixels of the view, drawn uniformly."""

_MEASURED = 4096
CACHED = 3 << 17
"""Values that a CPU processes at a time (1.5 MB): the allocator returns larger blocks to the system every time."""

_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], dtype=torch.float64
)


def channel_stats(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every channel over all pixels, on the scale [0, 1].

    The deviation is at least one gray level, so that a constant channel can be divided by it. Of images that are read
    by the batch, at most 4,096 are measured, evenly spread over the split.

    Raises:
        ConfigError: the split holds no images.
    """
    if not len(split):
        raise ConfigError("the training split is empty, so that its mean color is unknown: add training images")
    images, channels = split.images, split.images.shape[1]
    parts = (
        images.split(_MEASURED)
        if isinstance(images, Tensor)
        else (split.read(index)[0] for index in evenly(_MEASURED, len(split)).split(128))
    )
    counts = torch.zeros(channels, 256, dtype=torch.long)
    for part in parts:
        counts += torch.stack([torch.bincount(part[:, c].flatten(), minlength=256) for c in range(channels)])
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for count in counts.double():
        share = count / count.sum()
        mean = (share * levels).sum()
        means.append(float(mean))
        stds.append(max(float((share * (levels - mean) ** 2).sum().sqrt()), 1 / 255))
    return tuple(means), tuple(stds)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 ``(B, C, H, W)`` to float ``(images / 255 − mean) / std`` per channel, with no augmentation."""
    shift = torch.tensor(mean, device=images.device).view(-1, 1, 1)
    scale = torch.tensor(std, device=images.device).view(-1, 1, 1)
    images = images.float().div_(255).sub_(shift).div_(scale)
    return images.contiguous(memory_format=torch.channels_last) if images.shape[1] == 3 else images


class BatchedViews(nn.Module):
    """Crop, flip, rotate, blur, recolor and solarize a batch of uint8 images, each image and view by its own draw.

    Crop, flip, resize and blur are linear in the image and act on its sides one at a time, so that a view is
    ``R X Cᵀ`` with ``R`` of ``S × H`` and ``C`` of ``S × W``. Crops are drawn as in torchvision's
    ``RandomResizedCrop`` and resized by its antialiased bilinear filter. With ``distance``, those of one image have one
    size, and views 1, 3, … lie that share of the sides to the right of and below views 0, 2, …. Rotation resamples the
    crop bilinearly and fills with black.

    Colors change by one affine map. With brightness b, contrast c, saturation s, hue turned by h of a circle, and m the
    mean gray level of the crop, a pixel x becomes ``b c A(s, h) x + b (1 − c) m``, where ``A`` keeps the luma and turns
    and scales the chroma in YIQ by ``s · exp(2πi h)``; s = 0 drops the colors. The four steps commute, so their order,
    which torchvision draws, does not matter. Two things differ from torchvision: values are clamped to [0, 1] once, at
    the end, and hue turns in YIQ instead of HSV. One-channel images change by brightness and contrast alone. Solarizing
    comes last: values of at least 1/2 are subtracted from 1.

    Args:
        config: strengths and probabilities.
        image_size: side S of the views, in pixels.
        channels: 1 (gray) or 3 (RGB).
        mean, std: mean and standard deviation of each channel on the scale [0, 1].

    Raises:
        ConfigError: another number of channels, or statistics that do not match it.
    """

    def __init__(
        self, config: AugmentConfig, image_size: int, channels: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ConfigError(f"views are drawn of images with 1 or 3 channels, not {channels}: convert them to RGB")
        if len(mean) != channels or len(std) != channels:
            raise ConfigError(
                f"mean and std have {len(mean)} and {len(std)} values, images {channels} channels: give one for each"
            )
        self.config, self.image_size, self.channels = config, image_size, channels
        self.blur_reach = max(1, image_size // 20)
        rgb, pixels = channels == 3, image_size**2
        shift, scale = torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)
        self.shift, self.scale = nn.Buffer(shift, persistent=False), nn.Buffer(scale, persistent=False)
        # Black and white after normalizing.
        self.low = nn.Buffer((-shift / scale).repeat(image_size), persistent=False)
        self.high = nn.Buffer(((1 - shift) / scale).repeat(image_size), persistent=False)
        # A product with these weights is the mean gray level of a view.
        luma = (_YIQ[0].float() if rgb else torch.ones(1)).repeat(pixels) / pixels
        self.luma = nn.Buffer(luma, persistent=False)
        self.colors = nn.Buffer(_color_basis() if rgb else torch.ones(1, 1), persistent=False)
        # Probabilities in views 0, 2, … and in views 1, 3, …
        blur, solarize = (torch.tensor(p).float().expand(2).clone() for p in (config.blur, config.solarize))
        self.blur, self.solarize = nn.Buffer(blur, persistent=False), nn.Buffer(solarize, persistent=False)
        self.blurs, self.solarizes = bool(blur.any()), bool(solarize.any())
        taps = _blur_taps(image_size, self.blur_reach) if self.blurs else torch.empty(0)
        self.taps = nn.Buffer(taps, persistent=False)

    @torch.no_grad()
    def forward(
        self,
        images: Tensor,
        num_views: int = 1,
        generator: torch.Generator | None = None,
        aspect: Tensor | None = None,
    ) -> Tensor:
        """Draw ``num_views`` views of every image.

        Args:
            images: uint8 ``(B, C, H, W)``, on the module's device.
            num_views: one or more.
            generator: source of all randomness, on the images' device; None is the global one.
            aspect: width / height of the pictures ``(B,)`` before each was resized to H × W; None: W / H for all.

        Returns:
            Normalized float32 views ``(num_views · B, C, S, S)``; row ``v · B + s`` is view v of image s. RGB views
            have the channels-last memory format.
        """
        batch, size = len(images), self.image_size
        views = torch.empty(num_views * batch, size, size * self.channels, device=images.device)
        # Compiled or on a GPU, nothing depends on what is drawn, so that all of it is one graph.
        at_once = images.is_cuda or torch.compiler.is_compiling()
        # Mixed precision would run the matrix products in bfloat16, which is coarser than the pixels.
        with torch.autocast(images.device.type, enabled=False):
            aspect = None if aspect is None else aspect.repeat(num_views)
            draws = self._draw(num_views, batch, images.shape[2], images.shape[3], generator, aspect)
            if at_once:
                draws = self._matrices(images, draws, at_once)
            step = batch if at_once else max(1, CACHED // (self.channels * size**2))
            for first in range(0, batch, step):
                source = images[first : first + step].float().contiguous()
                for view in range(num_views):
                    part = slice(view * batch + first, view * batch + first + len(source))
                    drawn = {name: values[part] for name, values in draws.items()}
                    self._view(source, drawn if at_once else self._matrices(source, drawn, at_once), views[part])
        return views.view(-1, size, size, self.channels).permute(0, 3, 1, 2)

    def _draw(
        self,
        num_views: int,
        samples: int,
        height: int,
        width: int,
        generator: torch.Generator | None,
        aspect: Tensor | None,
    ) -> dict[str, Tensor]:
        """All random quantities of some views of each sample, one row per view."""
        batch = num_views * samples
        top, left, tall, wide = self.draw_crops(batch, height, width, generator, aspect)
        if self.config.distance is not None:
            top, tall = _apart(top, tall, height, self.config.distance, num_views)
            left, wide = _apart(left, wide, width, self.config.distance, num_views)
        mirrored = self._uniform(generator, batch) < self.config.flip
        draws = self._draw_colors(batch, generator)
        draws |= {"top": top, "left": left, "tall": tall, "wide": wide, "mirrored": mirrored}
        odd = torch.arange(batch, device=self.luma.device) // max(1, samples) % 2
        if self.blurs:
            draws |= self._draw_blur(self.blur[odd], generator)
        if self.config.rotate > 0:
            limit = math.radians(self.config.rotate)
            draws["angle"] = self._uniform(generator, batch, between=(-limit, limit))
        if self.solarizes:
            draws["solarized"] = self._uniform(generator, batch) < self.solarize[odd]
        return draws

    def _matrices(self, images: Tensor, draws: dict[str, Tensor], at_once: bool) -> dict[str, Tensor]:
        """The draws with ``rows`` ``(B, S, H)`` and ``columns`` ``(B, S, W)``: crop, resize, flip and blur."""
        height, width = images.shape[2:]
        rows = interpolation(draws["top"], draws["tall"], height, self.image_size)
        columns = interpolation(draws["left"], draws["wide"], width, self.image_size, draws["mirrored"])
        if "kernel" in draws:
            kernel, size = draws["kernel"], self.image_size
            if at_once:
                blur = (kernel @ self.taps).view(-1, size, size)
                rows, columns = blur @ rows, blur @ columns
            elif len(at := draws["blurred"].nonzero().view(-1)):  # to know which would make a GPU wait
                blur = (kernel[at] @ self.taps).view(-1, size, size)
                rows[at], columns[at] = blur @ rows[at], blur @ columns[at]
        return draws | {"rows": rows, "columns": columns}

    def _view(self, images: Tensor, draws: dict[str, Tensor], out: Tensor) -> None:
        """One view of ``(B, C, H, W)`` into ``(B, S, S · C)``; the channels of a pixel are adjacent.

        Turning the chroma commutes with all that moves pixels. It comes first, where channels are planes, unless the
        view has fewer pixels than the image. The rest of the colors is a factor and a shift per channel and comes last.
        """
        batch, channels, height, width = images.shape
        size = self.image_size
        late = height * width > size**2
        if "turn" in draws and not late:
            images = torch.bmm(draws["turn"], images.view(batch, channels, -1))
        # Transposed operands are read in place: nothing is copied between the products.
        drawn = torch.bmm(draws["columns"], images.view(batch, channels * height, width).transpose(1, 2))
        drawn = torch.bmm(draws["rows"], drawn.view(batch, size * channels, height).transpose(1, 2))
        if "turn" in draws and late:
            drawn = torch.bmm(draws["turn"], drawn.view(batch, -1, channels).mT).mT.reshape(drawn.shape)
        if "angle" in draws:
            drawn = rotated(drawn.view(batch, size, size, channels), draws["angle"]).view_as(drawn)
        level = drawn.view(batch, -1) @ self.luma
        factor = draws["factor"].unsqueeze(1) / (255 * self.scale)
        shift = ((draws["lift"] * level).unsqueeze(1) / 255 - self.shift) / self.scale
        factor, shift = (value.repeat(1, size).unsqueeze(1) for value in (factor, shift))
        torch.clamp(torch.addcmul(shift, drawn, factor), self.low, self.high, out=out)
        if "solarized" in draws:
            bright = (out >= (self.low + self.high) / 2) & draws["solarized"].view(-1, 1, 1)
            torch.where(bright, self.low + self.high - out, out, out=out)

    def draw_crops(
        self,
        batch: int,
        height: int,
        width: int,
        generator: torch.Generator | None = None,
        aspect: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height and width ``(B,)`` of crops that lie within ``height × width``, in pixels.

        The area is uniform in ``crop_scale`` and the aspect log-uniform in ``crop_ratio``. The first of ten candidates
        that fits is used, else the largest centered crop whose aspect is in ``crop_ratio``. Crops begin and end at
        whole pixels, unless ``aspect`` ``(B,)`` says that the pictures had other sides, in which the crops are drawn.
        """
        low, high = self.config.crop_ratio
        area = self._uniform(generator, batch, TRIES, between=self.config.crop_scale)
        ratio = self._uniform(generator, batch, TRIES, between=(math.log(low), math.log(high))).exp()
        offset = self._uniform(generator, 2, batch)
        if aspect is not None:
            # Of a picture a times as wide as high, in shares of its sides.
            aspect = aspect.unsqueeze(1)
            wide, tall = (area * ratio / aspect).sqrt(), (area / ratio * aspect).sqrt()
            fits = (wide <= 1) & (tall <= 1)
            widest, tallest = (high / aspect).clamp(max=1), (aspect / low).clamp(max=1)
            wide, tall = (_chosen(sides, fits, longest) for sides, longest in ((wide, widest), (tall, tallest)))
            # A crop holds the center of a pixel at least.
            wide, tall = (wide * width).clamp(min=1.5), (tall * height).clamp(min=1.5)
            centered = ~fits.any(1)
            offset = torch.where(centered, 0.5, offset)
            return offset[0] * (height - tall), offset[1] * (width - wide), tall, wide
        area = area * (height * width)
        wide, tall = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (wide >= 1) & (wide <= width) & (tall >= 1) & (tall <= height)
        most = float(width if width <= height * high else round(height * high))
        highest = float(height if width >= height * low else round(width / low))
        wide, tall = _chosen(wide, fits, most), _chosen(tall, fits, highest)
        found = fits.any(1)
        top = torch.where(found, (offset[0] * (height - tall + 1)).floor(), ((height - tall) / 2).floor())
        left = torch.where(found, (offset[1] * (width - wide + 1)).floor(), ((width - wide) / 2).floor())
        return top, left, tall, wide

    def _uniform(
        self, generator: torch.Generator | None, *shape: int, between: tuple[float, float] = (0.0, 1.0)
    ) -> Tensor:
        low, high = between
        return torch.rand(shape, generator=generator, device=self.luma.device) * (high - low) + low

    def _draw_blur(self, probability: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Kernels ``(B, 2 · reach + 1)`` of a Gaussian blur along one side, 1 in the middle where none is drawn."""
        sigma = self._uniform(generator, len(probability), 1, between=BLUR_SIGMA)
        blurred = self._uniform(generator, len(probability), 1) < probability.unsqueeze(1)
        distance = torch.arange(-self.blur_reach, self.blur_reach + 1, device=self.luma.device)
        kernel = torch.where(blurred, torch.exp(-0.5 * (distance / sigma) ** 2), (distance == 0).float())
        return {"kernel": kernel / kernel.sum(1, keepdim=True), "blurred": blurred.squeeze(1)}

    def _draw_colors(self, batch: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Factor and shift ``(B,)`` of brightness and contrast; for RGB the matrices ``(B, 3, 3)`` of the chroma."""
        strength = self.config.jitter
        changed = self._uniform(generator, batch) < self.config.jitter_prob
        brightness, contrast, saturation = (
            torch.where(changed, self._uniform(generator, batch, between=(max(0.0, 1 - s), 1 + s)), 1.0)
            for s in strength[:3]
        )
        draws = {"factor": brightness * contrast, "lift": brightness * (1 - contrast)}
        if self.channels == 1:
            return draws
        hue = 2 * math.pi * strength[3]
        angle = torch.where(changed, self._uniform(generator, batch, between=(-hue, hue)), 0.0)
        saturation = saturation * (self._uniform(generator, batch) >= self.config.grayscale)
        chroma = torch.stack([torch.ones_like(saturation), saturation * angle.cos(), saturation * angle.sin()], 1)
        return draws | {"turn": (chroma @ self.colors).view(batch, 3, 3)}


def _chosen(sides: Tensor, fits: Tensor, otherwise: Tensor | float) -> Tensor:
    """Of each row ``(B, TRIES)`` the first side that fits, ``(B,)``; ``otherwise`` where none does."""
    first = (fits.cumsum(1) == 0).sum(1, keepdim=True)
    chosen = sides.gather(1, first.clamp(max=TRIES - 1))
    return torch.where(first < TRIES, chosen, otherwise).squeeze(1)


def _apart(start: Tensor, length: Tensor, side: int, distance: float, num_views: int) -> tuple[Tensor, Tensor]:
    """Along one side, crops ``(V · B,)`` of the length of view 0; views 1, 3, … begin ``distance · side`` later.

    A start that is uniform between the ends of the side becomes uniform where both crops fit. On an image with unequal
    sides a crop may be too long for that: the two then lie at the ends of the side.
    """
    start, length = start.view(num_views, -1)[0], length.view(num_views, -1)[0]
    reach, room = distance * side, (side - length).clamp(min=1e-6)
    first = start * ((room - reach).clamp(min=0) / room)
    odd = torch.arange(num_views, device=start.device) % 2
    return (first + reach * odd.unsqueeze(1)).minimum(room).view(-1), length.repeat(num_views)


def rotated(images: Tensor, angle: Tensor) -> Tensor:
    """``(B, S, S, C)`` turned about the center by ``angle`` ``(B,)`` in radians; black outside."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)
    planes = images.permute(0, 3, 1, 2)
    grid = nn.functional.affine_grid(turn, list(planes.shape), align_corners=False)
    return nn.functional.grid_sample(planes, grid, align_corners=False).permute(0, 2, 3, 1).contiguous()


def _color_basis() -> Tensor:
    """Matrices that keep the luma, keep the chroma and turn the chroma by +90° (red towards green), as ``(3, 9)``."""
    keep = torch.zeros(3, 3, 3, dtype=torch.float64)
    keep[0, 0, 0] = 1
    keep[1, 1, 1] = keep[1, 2, 2] = 1
    keep[2, 1, 2], keep[2, 2, 1] = 1, -1
    basis: Tensor = torch.linalg.inv(_YIQ) @ keep @ _YIQ
    return basis.float().view(3, 9)


def _blur_taps(size: int, reach: int) -> Tensor:
    """``(2 · reach + 1, size²)``: entry ``(d, i · size + j)`` is 1 where pixel i + d, reflected at the ends, is j."""
    read = torch.arange(size) + torch.arange(-reach, reach + 1).view(-1, 1)
    read = size - 1 - (size - 1 - read.abs()).abs()
    return torch.eye(size)[read].view(2 * reach + 1, -1)
