"""The commands of ``clgnn``. Each reads its arguments, calls the library and prints the result."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from cl_as_gnn import light
from cl_as_gnn.compat import quiet_command
from cl_as_gnn.errors import ConfigError, Interrupted, in_one_line
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS, from_source
from cl_as_gnn.runs.listing import print_entries
from cl_as_gnn.runs.stop import end_with_parent, handled

if TYPE_CHECKING:
    from cl_as_gnn.config import RunConfig

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console(highlight=False, markup=False)  # paths may hold [brackets]

Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG] [KEY=VALUE]...",
        help="A YAML file, then settings that override it, for example method.name=gat trainer.epochs=50.",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that clgnn train printed.")]


def _show_version(given: bool) -> None:
    if given:
        from importlib.metadata import version

        console.print(", ".join(f"{name} {version(name)}" for name in ("cl-as-gnn", "torch", "torch-geometric")))
        raise typer.Exit


@app.callback()
def clgnn(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Contrastive learning as message passing: train, score and look at encoders."""


def _split_settings(settings: list[str] | None) -> tuple[Path | None, list[str]]:
    """The config file, if the first word is one, and the overrides."""
    words = list(settings or [])
    return Path(words.pop(0)) if words and "=" not in words[0] else None, words


def _load(settings: list[str] | None) -> RunConfig:
    from cl_as_gnn.config import load_config

    with from_source():  # report a mistake before torch is imported
        load_config(*_split_settings(settings))
    return load_config(*_split_settings(settings))


@app.command()
def train(settings: Settings = None) -> None:
    """Train an encoder and score it.

    Without arguments: method `gcn` on the digits data that ships with scikit-learn, about a minute and a half on
    two cores. `resume=RUN` continues a stopped run to the numbers it would have had.
    """
    from cl_as_gnn.config import merge, parse_overrides, read_yaml
    from cl_as_gnn.runs.folder import is_first_rank, open_run, prepare_run, resumed_config

    path, words = _split_settings(settings)
    resume = [word.removeprefix("resume=") for word in words if word.startswith("resume=")]
    if len(resume) > 1:
        raise ConfigError(f"resume= is given {len(resume)} times: name one run folder")
    if resume:
        folder = Path(resume[0])
        given = parse_overrides(word for word in words if not word.startswith("resume="))
        given = merge(read_yaml(path) if path else {}, given)
        with from_source():  # report a mistake before torch is imported
            resumed_config(open_run(folder), given)
        from cl_as_gnn.training.fit import continue_run

        _, metrics = continue_run(folder, given, console)
    else:
        config = prepare_run(_load(settings))
        assert config.run_dir is not None
        folder = config.run_dir
        from cl_as_gnn.training.fit import train as run_training

        console.quiet = not is_first_rank(config.trainer)
        metrics = run_training(config, console=console)
    if metrics:
        from cl_as_gnn.runs.terminal import print_finished

        print_finished(metrics, folder, console)


@app.command()
def evaluate(
    run: Run,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Other eval.*, for example eval.root=FOLDER.")
    ] = None,
) -> None:
    """Score the encoder of a finished run again: kNN, linear probe, few labels; without labels, its geometry.

    `eval.root=FOLDER` scores it on other labeled images, `eval.shifts=[rotate,blur,noise,cutout,grey]` also under
    shifts, `eval.transfer=FOLDER` also by new probes. Nothing is written: `clgnn train resume=RUN` keeps scores.
    """
    from cl_as_gnn.config import parse_overrides
    from cl_as_gnn.runs.load import evaluate_run
    from cl_as_gnn.runs.terminal import print_scores

    print_scores(evaluate_run(run, console, parse_overrides(settings or [])), console)


@app.command()
def embed(
    run: Run,
    out: Annotated[Path, typer.Option(help="A .npz file to write.")],
    images: Annotated[Path | None, typer.Option(help="A folder of other images to embed, at any depth.")] = None,
) -> None:
    """Write the features of every sample of a run's data set (images, nodes or graphs), or of other images.

    The file holds train, train_labels, test, test_labels (and validation), of images also their classes and files, of a
    graph all nodes; with --images it holds features and files, the paths of the images in their folder.
    """
    from cl_as_gnn.runs.load import export_features

    shapes = export_features(run, out, console, images)
    line = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    console.print(f"{out}: {line}", soft_wrap=True, markup=False)


@app.command()
def select(
    run: Run,
    budget: Annotated[int, typer.Option(min=1, help="How many images.")] = 50,
    out: Annotated[Path, typer.Option(help="A .csv file to write.")] = Path("labels.csv"),
    images: Annotated[Path | None, typer.Option(help="Choose from this folder instead of the run's images.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A table of images that have labels already.")] = None,
) -> None:
    """Name the images that are worth labeling: typical ones, spread over the data (TypiClust).

    Writes a table of them with an empty column label to fill in, and a page of pictures beside it. Then: `clgnn label
    RUN labels.csv`.
    """
    from cl_as_gnn.labeling import select_images

    select_images(run, budget, out, console, images, labels)


@app.command()
def label(
    run: Run,
    labels: Annotated[Path, typer.Argument(metavar="LABELS.CSV", help="A table with the columns file and label.")],
    out: Annotated[Path, typer.Option(help="A .csv file to write.")] = Path("labeled.csv"),
    images: Annotated[Path | None, typer.Option(help="Label this folder instead of the run's images.")] = None,
) -> None:
    """Label every image from few labels, which spread along the kNN graph of the encoder's features.

    Writes each file with its label, the confidence, the neighbors that decided and a note (contradicted labels, near
    copies, images unlike all others), doubtful ones first, and a page of pictures of those.
    """
    from cl_as_gnn.labeling import label_images

    label_images(run, labels, out, console, images)


@app.command()
def pack(
    settings: Settings = None,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("packed"),
) -> None:
    """Decode the images of `data.root=PHOTOS` once, into a folder that trains without them: `data.root=OUT`.

    Give the `data.image_size` of the runs to come. A stopped pack goes on where it was. The same folder serves as
    `data.cache=OUT` of runs on the images themselves, which fill it in their first epoch if it is not there.
    """
    from cl_as_gnn.runs.pack import pack_images

    pack_images(_load(settings), out, console)


@app.command()
def views(
    settings: Settings = None,
    out: Annotated[Path, typer.Option(help="A .safetensors file that does not exist yet.")] = Path("g.safetensors"),
) -> None:
    """Train a view generator for `data.generator`: colors whose first channel shares little with the others.

    `clgnn views data.root=FOLDER mode=semi --out g.safetensors`, then `clgnn train data.root=FOLDER method.name=cmc
    data.generator=g.safetensors`. Its own settings: `mode=semi` (reads `labels=2000`) or `unsupervised`, `space=rgb` or
    `ydbdr`, `warmup=50`, `steps=100`, `lr=0.004`, `hidden=8`; the others are those of `cmc`.
    """
    from cl_as_gnn.config.views import load_views

    with from_source():  # report a mistake before torch is imported
        load_views(*_split_settings(settings))
    from cl_as_gnn.training.view_generator import write_views

    write_views(*load_views(*_split_settings(settings)), out, console)


@app.command()
def export(
    run: Run,
    out: Annotated[Path, typer.Option(help="The file to write: .safetensors, .onnx or .pt2.")],
    format: Annotated[
        Literal["safetensors", "onnx", "torch"] | None, typer.Option(help="Instead of the ending of the file.")
    ] = None,
) -> None:
    """Write the encoder of a finished run for other programs.

    safetensors holds the weights under the names of the model in its own package; onnx and torch (torch.export) hold
    the computation, from float images between 0 and 1 to features.
    """
    from cl_as_gnn.runs.export import export_encoder

    console.print(f"{out}: {export_encoder(run, out, format)}", soft_wrap=True, markup=False)


@app.command()
def compare(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="A YAML suite: methods, seeds, a common budget.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings of every run, 'seeds=[0,1]', budget.view_epochs=4."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results [default: runs/SUITE].")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
) -> None:
    """Train every run of a suite with every seed and compare them.

    Finished runs are kept and stopped runs continue, also after a kill. Writes results.json, results.md and
    results.png, and curves.png if the suite has curves.
    """
    folder = out or Path("runs") / suite.stem
    with from_source():  # report a mistake before torch is imported
        light.read("cl_as_gnn.compare.suite").load_suite(suite, settings or [], folder)
    from cl_as_gnn.compare import load_suite, rich_table, run_suite

    loaded, cells = load_suite(suite, settings or [], folder)
    console.print(rich_table(run_suite(loaded, cells, folder, jobs, console)))
    console.print(f"{folder}/results.json, results.md, results.png", style="dim")


@app.command()
def methods() -> None:
    """List every method and its graph reading: what attracts, what repels."""
    columns = {"attracts": "attracts along", "repels": "repels along", "source": "source"}
    print_entries(
        METHODS, columns, (3, 2, 2), console, "Choose one with method.name=…; x' = x + step · (A⁺x − A⁻x) for each."
    )


@app.command()
def encoders() -> None:
    """List every encoder and what it reads."""
    print_entries(ENCODERS, {"reads": "reads", "summary": ""}, (1, 3), console, "Choose one with encoder.name=…")


@app.command()
def data() -> None:
    """List every data set and what its samples are."""
    columns = {"holds": "samples", "summary": ""}
    print_entries(DATASETS, columns, (None, 1), console, "Choose one with data.name=… (and data.root=FOLDER)")


@app.command()
def inspect(
    settings: Settings = None,
    run: Annotated[Path | None, typer.Option(help="Use the trained method and the settings of this run.")] = None,
    out: Annotated[Path, typer.Option(help="The picture to write: .png, .svg or .pdf.")] = Path("graph.png"),
    samples: Annotated[int, typer.Option(min=2, max=128, help="Samples in the minibatch.")] = 20,
) -> None:
    """Draw the graph that a method builds from one minibatch, with the weight and direction of each edge."""
    if run is not None and settings:
        raise ConfigError(f"--run {run} fixes all settings: drop {' '.join(settings)}, or drop --run")
    config = _load(settings) if run is None else None
    from cl_as_gnn.report import inspect_batch

    for line in inspect_batch(config, run, out, samples):
        console.print(line, soft_wrap=True)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="A run folder, or several to put side by side.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file [default: RUN/report.html; of several here].")] = None,
    map: Annotated[Literal["auto", "umap", "tsne", "pca"], typer.Option(help="How it is made.")] = "auto",
) -> None:
    """Write one HTML page of a run: scores and baselines, map, errors, curves, graph, neighbors, settings.

    Of several runs: spread over seeds, settings that differ, maps side by side. The page fetches nothing.
    """
    from cl_as_gnn.report import write_report

    for line in write_report(runs, out, console, map):
        console.print(line, soft_wrap=True)


@app.command()
def dynamics(
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("dynamics.png"),
    points: Annotated[int, typer.Option(min=2, max=500, help="Points per class.")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="Message-passing steps.")] = 1000,
    step_size: Annotated[float, typer.Option(help="Step size.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the data and the initial features.")] = 0,
) -> None:
    """Simulate alignment, uniformity and both on two Gaussians, in feature space.

    Prints the first and the last value of each quantity in each regime, and draws the features and the curves.
    """
    from cl_as_gnn.dynamics import REGIMES, simulate_to
    from cl_as_gnn.runs.terminal import print_numbers

    found, headings = simulate_to(out, points, steps, step_size, seed), ["first", *REGIMES.values()]
    print_numbers(f"first value, and last after {steps} steps", headings, found.table(), console)
    about = f"{2 * points} points, {found.edge_index.size(1)} edges with self-loops, seed {seed}"
    console.print(f"{out}: {about}", style="dim")


def main() -> None:
    """Entry point: an error is one line and an exit code, and a traceback with ``CLGNN_TRACEBACK=1``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a sign of a table must not end a run
            stream.reconfigure(errors="replace")
    try:
        with quiet_command(), handled():
            end_with_parent()
            app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except Exception as error:
        if os.environ.get("CLGNN_TRACEBACK") and not isinstance(error, Interrupted):
            raise
        message, code = in_one_line(error)
        if message:
            print(f"error: {message}", file=sys.stderr)  # noqa: T201  (rich would wrap the line)
        sys.exit(code)


if __name__ == "__main__":
    main()
