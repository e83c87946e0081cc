"""What a caller passes as data or as an encoder, as settings of a run and the objects that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel
from torch import Tensor, nn
from torch_geometric.data import Data

from cl_as_gnn.compat import tracked
from cl_as_gnn.config import merge, read_yaml
from cl_as_gnn.datasets.given import GivenImages, content_of, graph_tensors, node_tensors
from cl_as_gnn.datasets.images import Catalog
from cl_as_gnn.encoders.given import described
from cl_as_gnn.errors import ConfigError, unknown
from cl_as_gnn.held import Held, hold
from cl_as_gnn.registry import DATASETS

SPLITS = ("train", "validation", "test", "unlabeled")
_HASHED = 256  # pictures that stand for all in the digest, where each has to be read


class Given(NamedTuple):
    """Settings of a section, and what must be kept for them to be found."""

    settings: dict[str, Any]
    held: Held | None = None


@dataclass(frozen=True)
class Pictures:
    """Pictures by their position, and their labels; ``whole`` are all of them, if they came as one tensor."""

    item: Callable[[int], Image.Image]
    count: int
    channels: int
    labels: Sequence[Any] | None = None
    classes: tuple[str, ...] = ()
    whole: Tensor | None = None


def data_of(data: Any, progress: bool = False) -> Given:
    """The section ``data`` for what a caller passes: see :func:`cl_as_gnn.train`.

    Raises:
        ConfigError: it is none of these, or a tensor has another shape or range.
    """
    if data is None:
        return Given({})
    if isinstance(data, BaseModel):
        return Given(data.model_dump(mode="json"))
    if isinstance(data, str | Path):
        return Given(_named(data))
    if isinstance(data, Mapping) and not data.keys() & set(SPLITS):
        return Given(dict(data))
    graphs = graphs_of(data)
    if graphs is not None:
        single = len(graphs) == 1
        values = node_tensors(graphs[0]) if single else graph_tensors(graphs)
        content = content_of(values)
        return Given({"name": "given_nodes" if single else "given_graphs", "content": content}, hold(content, values))
    splits = {name: data[name] for name in SPLITS if name in data} if isinstance(data, Mapping) else {"train": data}
    if "train" not in splits or (isinstance(data, Mapping) and len(splits) < len(data)):
        raise ConfigError(f"data: expects train, and perhaps {', '.join(SPLITS[1:])}, got {', '.join(map(str, data))}")
    named = isinstance(data, Mapping)
    given = images_of({name: pictures_of(part, progress, name if named else "data") for name, part in splits.items()})
    return Given({"name": "given", "content": given[0]}, hold(*given))


def encoder_of(encoder: Any, graphs: bool) -> Given:
    """The section ``encoder`` for a name, settings or a module."""
    if isinstance(encoder, nn.Module):
        settings = described(encoder)
        held = hold(str(settings["module"]), encoder)
        return Given({"name": "given_gnn" if graphs else "given", **settings}, held)
    return Given(section_of(encoder))


def section_of(value: Any) -> dict[str, Any]:
    """A section of settings for a name, a mapping or a config."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {"name": value}
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else nested(value)


def nested(settings: Any) -> dict[str, Any]:
    """Settings with dots or nested, of a YAML file or a config, as a nested mapping."""
    if settings is None:
        return {}
    if isinstance(settings, BaseModel):
        return settings.model_dump(mode="json")
    if isinstance(settings, str | Path):
        return read_yaml(settings)
    if not isinstance(settings, Mapping):
        raise ConfigError(f"settings={settings!r}: expects a mapping, as in {{'optim.lr': 1e-3}}, or a YAML file")
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        part = nested(value) if isinstance(value, Mapping) else value
        for name in reversed(str(key).split(".")):
            part = {name: part}
        tree = merge(tree, part)
    return tree


def pictures_of(data: Any, progress: bool = False, what: str = "data") -> Pictures:
    """Pictures and labels of tensors, arrays, a pair of both with labels, a sequence of pictures, or a ``Dataset``.

    Raises:
        ConfigError: it is none of these, or a tensor has another shape or range.
    """
    if isinstance(data, Image.Image):
        data = [data]
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], Image.Image):
        images, labels = data
        found = pictures_of(images, progress, what)
        listed = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
        if len(listed) != found.count:
            raise ConfigError(f"{what}: there are {len(listed):,} labels for {found.count:,} images")
        return replace(found, labels=listed)
    if isinstance(data, Tensor | np.ndarray):
        images = _array(torch.as_tensor(data), what)
        return Pictures(lambda i: _picture(images[i]), len(images), images.size(1), whole=images)
    if not _is_sequence(data):
        kind = type(data).__name__
        raise ConfigError(
            f"{what}: cannot read a {kind}: pass a name, a folder, tensors (N, C, H, W), a torch Dataset or a PyG Data"
        )
    return _of_items(data, progress, what)


def images_of(parts: Mapping[str, Pictures]) -> tuple[str, GivenImages]:
    """What a run holds of the pictures of its splits, and a digest of it."""
    classes = next((part.classes for part in parts.values() if part.classes), ())
    listed = {name: part.labels for name, part in parts.items() if part.labels is not None and name != "unlabeled"}
    values = sorted({_label(v) for labels in listed.values() for v in labels} - {None, -1}, key=_order)
    if classes and all(isinstance(v, int) and v < len(classes) for v in values):
        number: dict[Any, int] = {i: i for i in range(len(classes))}
    else:
        number, classes = {v: i for i, v in enumerate(values)}, tuple(map(str, values))
    rows = [
        torch.tensor([number.get(_label(v), -1) for v in listed[name]])
        if name in listed
        else torch.full((part.count,), -1)
        for name, part in parts.items()
    ]
    y, ends, items = torch.cat(rows), np.cumsum([part.count for part in parts.values()]), list(parts.values())

    def item(row: int) -> Image.Image:
        owner = int(np.searchsorted(ends, row, side="right"))
        return items[owner].item(row - int(ends[owner]) + items[owner].count)

    classes = classes if bool((y >= 0).any()) else ()
    sizes = {name: part.count for name, part in parts.items()}
    if all(part.whole is not None for part in items):
        pixels: dict[str, Any] = {name: part.whole for name, part in parts.items()}
    else:
        looked = np.linspace(0, int(ends[-1]) - 1, min(_HASHED, int(ends[-1]))).astype(int)
        pixels = {f"row {row}": np.asarray(item(int(row))).tobytes() for row in looked}
    channels = max(part.channels for part in items)
    content = content_of({"sizes": sizes, "classes": classes, "y": y, **pixels})
    return content, GivenImages(item, Catalog(sizes, y, classes, ""), channels)


def _named(data: str | Path) -> dict[str, Any]:
    if isinstance(data, str) and data in DATASETS:
        return {"name": data}
    if Path(data).is_dir():
        return {"root": str(data)}
    if isinstance(data, Path) or "/" in data:
        raise ConfigError(f"data={data}: there is no such folder")
    raise ConfigError(unknown("data set", data, DATASETS, key="data"))


def graphs_of(data: Any) -> list[Data] | None:
    """Return the graphs of a ``Data``, a list of them or a data set of PyG; ``None`` if it is none of these."""
    if isinstance(data, Data):
        return [data]
    if isinstance(data, Mapping | Tensor | np.ndarray) or not _is_sequence(data):
        return None
    return list(data) if len(data) and isinstance(data[0], Data) else None


def _array(images: Tensor, what: str) -> Tensor:
    """Images as uint8 ``(N, C, H, W)``."""
    images = images.unsqueeze(1) if images.dim() == 3 else images
    if images.dim() != 4 or images.size(1) not in (1, 3):
        shape = tuple(images.shape)
        raise ConfigError(f"{what}: images of shape {shape}, expects (N, C, H, W) with one channel or three")
    if images.dtype == torch.uint8:
        return images.cpu()
    if not images.is_floating_point():
        raise ConfigError(f"{what}: images of {images.dtype}, expects uint8, or floats from 0 to 1")
    low, high = (float(images.min()), float(images.max())) if images.numel() else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        raise ConfigError(
            f"{what}: float images from {low:.3g} to {high:.3g}, expects 0 to 1: leave out the normalization, or pass "
            "uint8"
        )
    return (images.cpu() * 255).round().to(torch.uint8)


def _picture(image: Tensor) -> Image.Image:
    pixels = image.numpy()
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _of_items(data: Any, progress: bool, what: str) -> Pictures:
    """The items of a sequence or a map-style data set: pictures, or pairs of a picture and a label."""
    if not len(data):
        raise ConfigError(f"{what} is empty")

    def item(row: int) -> Image.Image:
        value = data[row]
        value = value[0] if isinstance(value, tuple | list) else value
        if isinstance(value, Image.Image):
            return value
        if isinstance(value, str | Path):
            return Image.open(value)
        return _picture(_array(torch.as_tensor(value).unsqueeze(0), f"{what}: item {row}")[0])

    first = data[0]
    sample, again = item(0), item(0)
    if sample.size != again.size or sample.tobytes() != again.tobytes():
        raise ConfigError(
            f"{what}: item 0 differs from read to read: leave out random transforms, data.augment draws the views"
        )
    paired = isinstance(first, tuple | list) and len(first) > 1
    labels = next((v for name in ("targets", "labels") if len(v := getattr(data, name, ())) == len(data)), None)
    if isinstance(labels, Tensor | np.ndarray):
        labels = labels.tolist()
    if not paired:
        labels = None
    elif labels is None:
        labels = [data[i][1] for i in tracked(range(len(data)), "Reading labels", len(data), progress)]
    classes = getattr(data, "classes", ()) if paired else ()
    gray = sample.mode in ("1", "L", "I", "I;16", "F")
    return Pictures(item, len(data), 1 if gray else 3, labels, tuple(map(str, classes)))


def _is_sequence(data: Any) -> bool:
    return hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _label(value: Any) -> Any:
    value = value.item() if isinstance(value, Tensor | np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value
