"""Pictures: of the graph of a minibatch, of a run, of the two-Gaussian simulation."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from cl_as_gnn.cli.common import Settings, console, load_settings, loading, then
from cl_as_gnn.errors import ConfigError


def inspect(
    settings: Settings = None,
    run: Annotated[Path | None, typer.Option(help="Use the trained method and the settings of this run.")] = None,
    out: Annotated[Path, typer.Option(help="The picture to write: .png, .svg or .pdf.")] = Path("graph.png"),
    samples: Annotated[int, typer.Option(min=2, max=128, help="Samples in the minibatch.")] = 20,
) -> None:
    """Draw the graph that a method builds from one minibatch, with the weight and direction of each edge."""
    if run is not None and settings:
        raise ConfigError(f"--run {run} fixes all settings: drop {' '.join(settings)}, or drop --run")
    config = load_settings(settings) if run is None else None
    with loading():
        from cl_as_gnn.report import inspect_batch

    for line in inspect_batch(config, run, out, samples):
        console.print(line, soft_wrap=True)
    if run is None:
        then(" ".join(["clgnn train", *(shlex.quote(word) for word in settings or ())]))


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="A run folder, or several to put side by side.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file [default: RUN/report.html; of several here].")] = None,
    map: Annotated[Literal["auto", "umap", "tsne", "pca"], typer.Option(help="How it is made.")] = "auto",
) -> None:
    """Write one HTML page of a run: scores and baselines, map, errors, curves, graph, neighbors, settings.

    Of several runs: spread over seeds, settings that differ, maps side by side. The page fetches nothing.
    """
    with loading():
        from cl_as_gnn.report import write_report

    for line in write_report(runs, out, console, map):
        console.print(line, soft_wrap=True)


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
    with loading():
        from cl_as_gnn.dynamics import REGIMES, simulate_to
        from cl_as_gnn.runs.terminal import print_numbers

    found, headings = simulate_to(out, points, steps, step_size, seed), ["first", *REGIMES.values()]
    print_numbers(f"first value, and last after {steps} steps", headings, found.table(), console)
    about = f"{2 * points} points, {found.edge_index.size(1)} edges with self-loops, seed {seed}"
    console.print(f"{out}: {about}", style="dim")
    then("clgnn inspect --out graph.png")
