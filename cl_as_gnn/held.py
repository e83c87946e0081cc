"""Objects of a Python session that settings name by a digest: data and modules that no file describes.

A run on them is an ordinary run: its config holds the digest, and what reads the config finds the object here for as
long as somebody else keeps it.
"""

from __future__ import annotations

from typing import Any
from weakref import ref


class Held:
    """Keeps an object findable while this is kept itself."""

    def __init__(self, value: Any):
        self.value = value


_HELD: dict[str, list[ref[Held]]] = {}


def hold(digest: str, value: Any) -> Held:
    """Make an object findable by its digest for as long as the result is kept.

    Of several with one digest, such as modules of one class with other weights, the last one passed is found.
    """
    held = Held(value)
    _HELD[digest] = [*_alive(digest), ref(held)]
    return held


def find(digest: str) -> Any | None:
    """The object, or ``None`` if it is not held."""
    held = next((kept for at in reversed(_alive(digest)) if (kept := at()) is not None), None)
    return None if held is None else held.value


def _alive(digest: str) -> list[ref[Held]]:
    return [at for at in _HELD.get(digest, ()) if at() is not None]
