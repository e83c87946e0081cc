"""What the commands share: their arguments, where they print, completion of settings, what to type next."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS, Registry, from_source

if TYPE_CHECKING:
    from cl_as_gnn.config import RunConfig

console = Console(highlight=False, markup=False)  # paths may hold [brackets]
_NAMED: dict[str, Registry[Any]] = {"method": METHODS, "encoder": ENCODERS, "data": DATASETS}


def complete_setting(ctx: typer.Context, incomplete: str) -> list[str]:
    """Keys of settings, and the names or words that a key may have.

    Bash takes ``=`` for the end of a word, and passes the parts; other shells pass ``key=value`` in one word.
    """
    words = [str(word) for word in ctx.params.get("settings") or ()]
    if len(words) > 1 and words[-1] == "=":
        return [value for value in _values(words[-2]) if value.startswith(incomplete)]
    key, sign, start = incomplete.partition("=")
    if sign:
        return [f"{key}={value}" for value in _values(key) if value.startswith(start)]
    return [f"{key}=" for key in (*_described(words), "resume") if key.startswith(incomplete)]


def complete_name(key: str) -> Callable[[str], list[str]]:
    """Completion of the names in a registry."""

    def complete(incomplete: str) -> list[str]:
        with from_source():
            return [name for name, _ in _NAMED[key].named() if name.startswith(incomplete)]

    return complete


def _values(key: str) -> list[str]:
    if key.removesuffix(".name") in _NAMED:
        return complete_name(key.removesuffix(".name"))("")
    found = _described([]).get(key)
    return [] if found is None else list(found.choices)


def _described(words: list[str]) -> Mapping[str, Any]:
    from cl_as_gnn.config import build_config, parse_overrides
    from cl_as_gnn.config.describe import described

    given = [word for word in " ".join(words).replace(" = ", "=").split() if "=" in word]
    with from_source():
        config = build_config({})
        with suppress(ConfigError):
            config = build_config(parse_overrides(given))
        return {setting.key: setting for setting in described(config)}


Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG] [KEY=VALUE]...",
        help="A YAML file, then settings that override it, for example method.name=gat trainer.epochs=50.",
        autocompletion=complete_setting,
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that clgnn train printed.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON, and nothing else, to standard output; progress to standard error.")
]


def split_settings(settings: list[str] | None) -> tuple[Path | None, list[str]]:
    """The config file, if the first word is one, and the overrides."""
    words = list(settings or [])
    return Path(words.pop(0)) if words and "=" not in words[0] else None, words


def load_settings(settings: list[str] | None) -> RunConfig:
    """The config of a command. A mistake in it is told before torch is imported."""
    from cl_as_gnn.config import load_config

    with from_source():
        load_config(*split_settings(settings))
    with loading():
        return load_config(*split_settings(settings))


@contextmanager
def loading() -> Iterator[None]:
    """Show that torch is being imported, which takes seconds."""
    with console.status("loading torch"):
        yield


def hand_over(json: bool) -> None:
    """With ``--json``, send all that is printed for people to standard error."""
    console.stderr = json


def print_json(value: Any) -> None:
    """Write JSON to standard output; numbers that are not finite become null."""
    print(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str))  # noqa: T201


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def then(*commands: str) -> None:
    """Say in a dim line what to type next, where a person reads."""
    if commands and console.is_terminal and not console.stderr:
        console.print("next: " + "  or  ".join(commands), style="dim", soft_wrap=True, markup=False)
