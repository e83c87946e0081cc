"""The errors that a user meets: each message is one line that names the value and the cure."""

from __future__ import annotations

import difflib
import shlex
import warnings
from collections.abc import Iterable
from pathlib import Path


class ConfigError(ValueError):
    """A setting, a path or a key is wrong: nothing has run yet (exit code 2)."""


class AbsentError(ConfigError):
    """A run is on data or on a module of a Python session, which are to be passed again."""


class RunError(RuntimeError):
    """A run with a correct config failed (exit code 1)."""


class Interrupted(RunError):
    """Ctrl-C (exit code 130) or SIGTERM (143) ended a command."""

    def __init__(self, message: str, code: int):
        self.code = code
        super().__init__(message)


class Notice(UserWarning):
    """A warning of this package. ``clgnn`` shows no others."""


def deprecated(old: str, new: str, gone: str, stacklevel: int = 3) -> None:
    """Warn by a :class:`Notice` that version ``gone``, the next but one, will not know an old name."""
    warnings.warn(f"{old} is {new} now: version {gone} will not know the old name", Notice, stacklevel)


class NotFiniteError(ValueError):
    """Features hold NaN or infinity: training has diverged."""


def unknown(kind: str, name: str, known: Iterable[str], key: str | None = None) -> str:
    """One line about a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    plain = {other.lower(): other for other in names}
    close = [plain[other] for other in difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.5)]
    # another case first, then swapped letters
    close.sort(key=lambda other: (other.lower() != name.lower(), sorted(other.lower()) != sorted(name.lower())))
    cure = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
    return f"unknown {kind} {name!r}{f' ({key}={name})' if key else ''}: {cure}"


def quoted(path: Path) -> str:
    """A path as a shell reads it, for a command in a line of ours."""
    return shlex.quote(str(path))


def reason(error: Exception) -> str:
    """The first line of what other people's code says of its mistake, for a line of ours."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"


def in_one_line(error: Exception) -> tuple[str, int]:
    """What a user reads of an error, and the exit code."""
    if isinstance(error, ConfigError | RunError):
        code = error.code if isinstance(error, Interrupted) else 2 if isinstance(error, ConfigError) else 1
        return " ".join(str(error).splitlines()), code
    if usage := getattr(error, "format_message", None):  # typer's own errors, whichever click it is built on
        return f"{usage()} (clgnn --help lists the commands, clgnn COMMAND --help their options)", 2
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}", 1
    if "No usable temporary directory" in str(error):  # torch asks for one
        return f"{' '.join(error.args[1:])}: free some space in one of them, or set TMPDIR to another folder", 1
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''} (CLGNN_TRACEBACK=1 shows where)", 1
