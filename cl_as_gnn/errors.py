"""The errors that a user meets: each message is one line that names the value and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A setting, a path or a key is wrong: nothing has run yet (exit code 2)."""


class RunError(RuntimeError):
    """A run with a correct config failed (exit code 1)."""


class Interrupted(RunError):
    """Ctrl-C (exit code 130) or SIGTERM (143) ended a command."""

    def __init__(self, message: str, code: int):
        self.code = code
        super().__init__(message)


class Notice(UserWarning):
    """A warning of this package. ``clgnn`` shows no others."""


class NotFiniteError(ValueError):
    """Features hold NaN or infinity: training has diverged."""


def unknown(kind: str, name: str, known: Iterable[str], key: str | None = None) -> str:
    """One line about a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    close.sort(key=lambda other: sorted(other) != sorted(name))  # swapped letters first
    cure = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
    return f"unknown {kind} {name!r}{f' ({key}={name})' if key else ''}: {cure}"
