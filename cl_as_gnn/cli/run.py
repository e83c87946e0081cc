"""Train, score again, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_as_gnn import light
from cl_as_gnn.cli.common import (
    Json,
    Run,
    Settings,
    complete_setting,
    console,
    hand_over,
    loading,
    print_json,
    split_settings,
    then,
)
from cl_as_gnn.errors import ConfigError, quoted
from cl_as_gnn.registry import from_source

if TYPE_CHECKING:
    from cl_as_gnn.config import RunConfig


def train(settings: Settings = None, json: Json = False) -> None:
    """Train an encoder and score it.

    Without arguments: method `gcn` on the digits data that ships with scikit-learn, two to three minutes on
    two cores. `resume=RUN` continues a stopped run to the numbers it would have had.
    """
    from cl_as_gnn.config import merge, parse_overrides, read_yaml

    hand_over(json)
    path, words = split_settings(settings)
    resume = [word.removeprefix("resume=") for word in words if word.startswith("resume=")]
    if len(resume) > 1:
        raise ConfigError(f"resume= is given {len(resume)} times: name one run folder")
    if resume:
        given = parse_overrides(word for word in words if not word.startswith("resume="))
        folder, metrics = Path(resume[0]), _resume(Path(resume[0]), merge(read_yaml(path) if path else {}, given))
    else:
        folder, metrics = _start(settings)
    if not metrics:
        return
    if json:
        print_json(metrics | {"run": folder})
        return
    from cl_as_gnn.runs.terminal import print_finished

    print_finished(metrics, folder, console)
    then(f"clgnn report {quoted(folder)}", f"clgnn embed {quoted(folder)} --out features.npz")


def _start(settings: list[str] | None) -> tuple[Path, dict[str, object]]:
    """Say what is to be trained before torch is imported, and train it."""
    from cl_as_gnn.config import load_config
    from cl_as_gnn.runs.folder import is_first_rank, prepare_run

    with from_source():
        config = load_config(*split_settings(settings))
        console.quiet = not is_first_rank(config.trainer)
        prepare_run(config)
    console.print(_about(config), soft_wrap=True)
    with loading():
        config = prepare_run(load_config(*split_settings(settings)))
        from cl_as_gnn.training.fit import train as run_training
    assert config.run_dir is not None
    return config.run_dir, run_training(config, console=console)


def _about(config: RunConfig) -> str:
    epochs = f"{config.trainer.epochs} epoch{'s' * (config.trainer.epochs != 1)}"
    return f"{config.method.name} on {config.data.name}: encoder {config.encoder.name}, {epochs}, seed {config.seed}"


def _resume(folder: Path, given: dict[str, object]) -> dict[str, object]:
    from cl_as_gnn.runs.folder import is_first_rank, open_run, resumed_config

    with from_source():  # report a mistake before torch is imported
        config = resumed_config(open_run(folder), given)
    console.quiet = not is_first_rank(config.trainer)
    with loading():
        from cl_as_gnn.training.fit import continue_run
    return continue_run(folder, given, console)[1]


def evaluate(
    run: Run,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Other eval.*, for example eval.root=FOLDER.",
            autocompletion=complete_setting,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Score the encoder of a finished run again: kNN, linear probe, few labels; without labels, its geometry.

    `eval.root=FOLDER` scores it on other labeled images, `eval.shifts=[rotate,blur,noise,cutout,grey]` also under
    shifts, `eval.transfer=FOLDER` also by new probes. Nothing is written: `clgnn train resume=RUN` keeps scores.
    """
    from cl_as_gnn.config import parse_overrides

    hand_over(json)
    with loading():
        from cl_as_gnn.runs.load import evaluate_run
        from cl_as_gnn.runs.terminal import print_scores

    metrics = evaluate_run(run, console, parse_overrides(settings or []))
    if json:
        print_json(metrics)
        return
    print_scores(metrics, console)
    then(f"clgnn report {quoted(run)}", f"clgnn select {quoted(run)}")


def compare(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="A YAML suite: methods, seeds, a common budget.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings of every run, 'seeds=[0,1]', budget.view_epochs=4.",
            autocompletion=complete_setting,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results [default: runs/SUITE].")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    json: Json = False,
) -> None:
    """Train every run of a suite with every seed and compare them.

    Finished runs are kept and stopped runs continue, also after a kill. Writes results.json, results.md and
    results.png, and curves.png if the suite has curves.
    """
    hand_over(json)
    folder = out or Path("runs") / suite.stem
    with from_source():  # report a mistake before torch is imported
        light.read("cl_as_gnn.compare.suite").load_suite(suite, settings or [], folder)
    with loading():
        from cl_as_gnn.compare import load_suite, rich_table, run_suite
    loaded, cells = load_suite(suite, settings or [], folder)
    results = run_suite(loaded, cells, folder, jobs, console)
    if json:
        print_json(results)
        return
    console.print(rich_table(results))
    console.print(f"{folder}/results.json, results.md, results.png", style="dim")
    then(f"clgnn runs {quoted(folder)}")
