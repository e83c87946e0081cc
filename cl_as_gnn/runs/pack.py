"""Decode the images of a config once, into a packed folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from cl_as_gnn.compat import tracked
from cl_as_gnn.config import PhotoConfig, RunConfig
from cl_as_gnn.datasets import load_images
from cl_as_gnn.datasets.images import Rows
from cl_as_gnn.datasets.packed import PackedStore
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.runs.stop import interruptible
from cl_as_gnn.tasks.image_data import sized

_CHUNK = 256


def pack_images(config: RunConfig, out: Path, console: Console) -> None:
    """Write all images that a config names into a packed folder, or finish one.

    Args:
        config: of which the section ``data`` counts, and the encoder if its weights expect images of their own size.
        out: the folder.
        console: is told the size first, and shows the progress.

    Raises:
        ConfigError: there is nothing to pack, no room, or other images are in the folder.
        RunError: too many files are broken, or the disk is full.
    """
    data = config.data
    if not isinstance(data, PhotoConfig):
        raise ConfigError(f"data.name={data.name} is not packed: name image files, as in clgnn pack data.root=PHOTOS")
    if data.cache is not None:
        raise ConfigError(f"data.cache={data.cache} and --out {out} mean the same: drop data.cache")
    if data.classes is not None:
        raise ConfigError(
            f"data.classes=[{', '.join(data.classes)}] is for runs: drop it, a packed folder holds every class"
        )
    section = sized(config, data).model_copy(update={"cache": out, "memory": 0.0})
    try:
        images = load_images(section)
    except ConfigError as error:
        raise ConfigError(str(error).replace("data.cache=", "--out ")) from None
    assert isinstance(images.train.images, Rows)
    store = images.train.images.store
    assert isinstance(store, PackedStore)
    missing, size = store.missing, store.shape[1] * store.shape[2] ** 2 / 1e9
    console.print(
        f"{len(store):,} images as squares of {store.shape[2]} px for data.image_size={images.side}: "
        f"{len(store) * size:.2f} GB in {out}, where {shutil.disk_usage(out).free / 1e9:.1f} GB stay free",
        soft_wrap=True,
    )
    chunks = missing.split(_CHUNK) if len(missing) else ()
    with interruptible(lambda what: f"{what}: {out} keeps what is packed, run the command again to go on"):
        for rows in tracked(chunks, "Packing", len(chunks), console.is_terminal):
            store.decode(rows)
    for row, why in sorted(store.broken.items()):
        console.print(f"left out {store.names[row]}: {why}", soft_wrap=True)
    console.print(f"{out}: done, train with data.root={out} data.image_size={images.side}", soft_wrap=True)
