"""What later commands would compute again, kept in the user's cache folder: decoded images, scores without training."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from cl_as_gnn.datasets.images import Catalog
from cl_as_gnn.datasets.packed import ASPECT, INDEX, PIXELS, cached
from cl_as_gnn.datasets.store import DecodedStore, FileStore
from cl_as_gnn.errors import ConfigError

try:
    import fcntl
except ImportError:  # not on Windows, where files in use cannot be removed
    fcntl = None  # type: ignore[assignment]

LEAST = 4096
"""Fewer images are decoded in about a second."""
GB = 4.0
"""What the decoded images of all data sets may take, if CLGNN_CACHE_GB does not say."""


def cache_folder() -> Path | None:
    """The folder: CLGNN_CACHE, or ``cl_as_gnn`` in the user's cache folder; ``None`` if CLGNN_CACHE is ``none``."""
    named = os.environ.get("CLGNN_CACHE")
    if named == "none":
        return None
    return Path(named or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "cl_as_gnn").expanduser()


def kept_decoded(store: DecodedStore, catalog: Catalog, side: int, root: Path | None) -> DecodedStore:
    """Let image files be decoded once: a packed folder in the cache folder, or the store itself where that cannot be.

    The name of the packed folder is a digest of the names, sizes and times of change of the files, so that changed
    files are decoded anew. Those used longest ago make room for new ones.

    Args:
        store: whose ``keep`` has been called; fewer than ``LEAST`` images, and what is not a file, are not kept.
        catalog, side, root: as in :func:`~cl_as_gnn.datasets.packed.cached`.
    """
    place, need = cache_folder(), int(np.prod(store.shape, dtype=np.int64))
    if place is None or not isinstance(store, FileStore) or len(store) < LEAST or need > _limit():
        return store
    known = hashlib.blake2b(store.stamps().tobytes(), digest_size=8)
    known.update(json.dumps([os.path.realpath(store.root), store.shape, store.center, *store.names]).encode())
    folder = place / "images" / known.hexdigest()
    try:
        if not (folder / INDEX).is_file():
            _make_room(folder.parent, need)
        packed = cached(store, catalog, side, folder, root)
        os.utime(folder / INDEX)
    except (ConfigError, OSError):  # the user did not ask for a cache: a full or read-only disk is no reason to stop
        return store
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(packed.lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return packed


def kept_scores(what: Any, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was computed before for the same ``what``, any JSON, and this very code; else compute and keep it."""
    place = cache_folder()
    if place is None:
        return compute()
    text = json.dumps([what, _code()], sort_keys=True)
    path = place / "scores" / f"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.json"
    with suppress(OSError, ValueError):
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    found = compute()
    draft = path.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(found), encoding="utf-8")
        os.replace(draft, path)
    return found


def _code() -> str:
    """A digest of this package's sources."""
    known = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        known.update(path.read_bytes())
    return known.hexdigest()


def _limit() -> float:
    try:
        return float(os.environ.get("CLGNN_CACHE_GB", GB)) * 1e9
    except ValueError:
        given = os.environ["CLGNN_CACHE_GB"]
        raise ConfigError(f"CLGNN_CACHE_GB={given} is no number of GB: set it to one, such as {GB:g}") from None


def _make_room(place: Path, need: int) -> None:
    """Remove packed folders that no process reads, those used longest ago first, until ``need`` more bytes fit."""
    place.mkdir(parents=True, exist_ok=True)
    used = {}
    for folder in place.iterdir():
        with suppress(OSError):
            used[folder] = ((folder / INDEX).stat().st_mtime, (folder / PIXELS).stat().st_size)
    total = need + sum(size for _, size in used.values())
    for folder, (_, size) in sorted(used.items(), key=lambda item: item[1]):
        if total <= _limit() and shutil.disk_usage(place).free > need:
            break
        with suppress(OSError):
            if fcntl is not None:
                with (folder / ASPECT).open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            total -= size
    if total > _limit():
        raise OSError("the packed folders in use leave no room")
