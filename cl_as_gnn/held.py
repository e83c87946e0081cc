"""Objects of a Python session that settings name by a digest: data and modules that no file describes.

A run on them is an ordinary run: its config holds the digest, and what reads the config finds the object here for as
long as somebody else keeps it.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary


class Held:
    """Keeps an object findable while this is kept itself."""

    def __init__(self, value: Any):
        self.value = value


_HELD: WeakValueDictionary[str, Held] = WeakValueDictionary()


def hold(digest: str, value: Any) -> Held:
    """Make an object findable by its digest for as long as the result is kept; of equal ones the first serves."""
    return _HELD.setdefault(digest, Held(value))


def find(digest: str) -> Any | None:
    """The object, or ``None`` if it is not held."""
    held = _HELD.get(digest)
    return None if held is None else held.value
