"""Lists: methods, encoders, data sets, settings, runs. None imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cl_as_gnn.cli.common import Json, complete_name, complete_setting, console, hand_over, print_json, then
from cl_as_gnn.errors import ConfigError, quoted, unknown
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS, Registry, from_source
from cl_as_gnn.runs.listing import entry_record, print_entries, print_entry, print_settings

_READING = {"attracts": "attracts along", "repels": "repels along", "source": "source"}


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show one method.", autocompletion=complete_name("method"))
    ] = None,
    json: Json = False,
) -> None:
    """List every method and its graph reading, what attracts (+) and what repels (−), or one in full."""
    _list(METHODS, _READING, name, json, signs=("+ ", "− "))


def encoders(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show one encoder.", autocompletion=complete_name("encoder"))
    ] = None,
    json: Json = False,
) -> None:
    """List every encoder and what it reads, or one with its settings."""
    _list(ENCODERS, {"reads": "reads", "summary": ""}, name, json)


def data(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show one data set.", autocompletion=complete_name("data"))
    ] = None,
    json: Json = False,
) -> None:
    """List every data set and what its samples are, or one with its settings."""
    _list(DATASETS, {"holds": "samples", "summary": ""}, name, json)


def _list(
    registry: Registry[Any], attributes: dict[str, str], name: str | None, json: bool, signs: tuple[str, ...] = ()
) -> None:
    hand_over(json)
    with from_source():
        names = [name] if name else [each for each, _ in registry.named()]
        if json:
            print_json([entry_record(registry, each, attributes) for each in names])
        elif name:
            print_entry(registry, name, attributes, console)
        else:
            print_entries(registry, attributes, console, signs)
    key = registry.key
    if name:
        then(f"clgnn train {key}.name={name}")
    else:
        then(f"clgnn {key if key == 'data' else key + 's'} NAME", f"clgnn train {key}.name=NAME")


def settings(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PART]... [KEY=VALUE]...",
            help="Parts to show, such as trainer, data.augment or optim.lr; settings on which others depend.",
            autocompletion=complete_setting,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List every setting with its default, meaning and type.

    The method, the encoder and the data set decide which settings there are, and on their defaults: name them as for
    `clgnn train`.
    """
    from cl_as_gnn.config import load_config
    from cl_as_gnn.config.describe import described

    hand_over(json)
    parts = [word for word in words or () if "=" not in word]
    with from_source():
        every = described(load_config(None, [word for word in words or () if "=" in word]))
    for part in parts:
        known = {".".join(key.split(".")[:i]) for key in (s.key for s in every) for i in (1, 2, 3)}
        if part not in known:
            raise ConfigError(unknown("part", part, known))
    chosen = [s for s in every if not parts or any(f"{s.key}.".startswith(f"{part}.") for part in parts)]
    if json:
        print_json([setting.record() for setting in chosen])
        return
    print_settings(chosen, console)
    then("clgnn train KEY=VALUE", "clgnn methods NAME")


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to look, at any depth.")] = Path("runs"),
    json: Json = False,
) -> None:
    """List the runs in a folder, newest last: method, data, epochs, main scores, finished or stopped."""
    from cl_as_gnn.runs.overview import find_runs, print_runs

    hand_over(json)
    found = find_runs(folder)
    if json:
        print_json(found)
        return
    print_runs(found, folder, console)
    last = {run["state"]: quoted(Path(run["run"])) for run in found}
    cures = {"finished": "clgnn report", "stopped": "clgnn train resume="}
    then(*(f"{cure}{' ' * (not cure.endswith('='))}{last[state]}" for state, cure in cures.items() if state in last))
