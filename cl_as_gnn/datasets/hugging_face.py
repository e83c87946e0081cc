"""Data sets of the package ``datasets`` (extra ``hf``): saved folders and Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from cl_as_gnn.config import PhotoConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.images import Catalog, Parts
from cl_as_gnn.datasets.photos import read_photos
from cl_as_gnn.datasets.store import ItemStore
from cl_as_gnn.errors import ConfigError

_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


class HuggingFaceConfig(PhotoConfig):
    name: Literal["hf"] = "hf"
    image_column: str | None = Field(None, description="None = the first column of images")
    label_column: str | None = Field(None, description="None = the first column of classes")


class HuggingFace(ImageDataset):
    """A data set that ``datasets`` has saved with ``save_to_disk``, or a folder of Parquet files, on this machine.

    The columns of images and classes are those whose features are ``Image`` and ``ClassLabel``. Parquet files are
    training images unless their names begin with ``validation`` or ``test``. Pictures are read by memory mapping.
    """

    Config = HuggingFaceConfig
    summary = "a data set saved by the package datasets (save_to_disk), or Parquet files"

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
        opened = open_saved(config.root)
        first = next(iter(opened.values()))
        picture = _column(first, config.image_column, "Image", "data.image_column")
        label = _column(first, config.label_column, "ClassLabel", "data.label_column")
        if picture is None:
            raise ConfigError(
                f"data.root={config.root} has no column of images among {', '.join(first.column_names)}: name one by "
                "data.image_column"
            )
        sizes = [len(part) for part in opened.values()]
        classes, labels = _labels(list(opened.values()), label)
        ends = torch.tensor(sizes).cumsum(0)
        parts = [part.select_columns([picture]) for part in opened.values()]

        def item(row: int) -> Any:
            owner = int(torch.searchsorted(ends, row, right=True))
            return parts[owner][row - int(ends[owner]) + sizes[owner]][picture]

        token = "-".join(str(getattr(part, "_fingerprint", "")) for part in opened.values())
        store = ItemStore(item, sum(sizes), config.max_broken, token)
        catalog = Catalog(dict(zip(opened, sizes, strict=True)), labels, classes, f"column {label}")
        return read_photos(config, store, catalog, progress)


def open_saved(root: Path | None) -> dict[str, Any]:
    """The splits of a data set on this machine, ``train`` among them."""
    try:
        import datasets
    except ImportError:
        raise ConfigError("data.name=hf needs the package datasets: pip install 'cl-as-gnn[hf]'") from None
    if root is None or not root.is_dir():
        raise ConfigError(f"data.root={root} is no folder: give the one that save_to_disk wrote, or of Parquet files")
    files = sorted(path for path in root.rglob("*.parquet") if not path.name.startswith("."))
    try:
        if files:
            named: dict[str, list[str]] = {}
            for path in files:
                split = next((mine for name, mine in _SPLITS.items() if path.name.startswith(name)), "train")
                named.setdefault(split, []).append(str(path))
            found = {name: datasets.Dataset.from_parquet(paths) for name, paths in named.items()}
        else:
            loaded = datasets.load_from_disk(str(root))
            found = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    except Exception as error:  # the package has many errors of its own
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"data.root={root} cannot be read by datasets ({type(error).__name__}: {reason})") from None
    out = {_SPLITS[name]: part for name, part in found.items() if name in _SPLITS}
    if "train" not in out:
        raise ConfigError(f"data.root={root} has the splits {', '.join(found)}, and none is named train: rename one")
    return out


def _column(part: Any, given: str | None, kind: str, key: str) -> str | None:
    """The given column, or the first of a kind of feature."""
    if given is not None:
        if given not in part.column_names:
            raise ConfigError(f"{key}={given}: there are the columns {', '.join(part.column_names)}")
        return given
    found = (name for name, feature in part.features.items() if type(feature).__name__ == kind)
    return next(found, None)


def _labels(parts: list[Any], column: str | None) -> tuple[tuple[str, ...], Tensor]:
    """The names of the classes, and the class of each item; without a column no names and −1."""
    if column is None:
        return (), torch.full((sum(map(len, parts)),), -1)
    values = [value for part in parts for value in part[column]]
    names = getattr(parts[0].features[column], "names", None)
    if names is not None:
        return tuple(names), torch.tensor([-1 if value is None else int(value) for value in values])
    names = sorted({str(value) for value in values if value is not None})
    number = {name: i for i, name in enumerate(names)}
    return tuple(names), torch.tensor([-1 if value is None else number[str(value)] for value in values])
