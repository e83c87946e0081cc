"""The commands in groups, as ``clgnn --help`` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from cl_as_gnn.cli.common import console
from cl_as_gnn.cli.lists import data, encoders, methods, runs, settings
from cl_as_gnn.cli.look import dynamics, inspect, report
from cl_as_gnn.cli.run import compare, evaluate, train
from cl_as_gnn.cli.use import embed, export, label, pack, select, views

GROUPS = {
    "Train and score": (train, evaluate, compare, runs),
    "Look": (report, inspect, dynamics),
    "Use an encoder": (embed, select, label, export),
    "Prepare images": (pack, views),
    "What there is": (methods, encoders, data, settings),
}
EXAMPLES = {
    "train": (
        "clgnn train method.name=simclr trainer.epochs=20",
        "clgnn train data.root=PHOTOS data.image_size=32 run_dir=runs/photos",
        "clgnn train resume=runs/photos trainer.epochs=200",
    ),
    "evaluate": ("clgnn evaluate RUN 'eval.shifts=[rotate,blur]'",),
    "compare": ("clgnn compare benchmarks/suites/digits.yaml 'seeds=[0,1]' --jobs 2",),
    "runs": ("clgnn runs", "clgnn runs runs/digits --json"),
    "inspect": ("clgnn inspect method.name=gcn method.k=3 --out graph.svg",),
    "embed": ("clgnn embed RUN --images PHOTOS --out features.npz",),
    "export": ("clgnn export RUN --out encoder.onnx",),
    "pack": ("clgnn pack data.root=PHOTOS data.image_size=32 --out packed",),
    "methods": ("clgnn methods", "clgnn methods gcn", "clgnn methods | grep nearest"),
    "settings": (
        "clgnn settings trainer",
        "clgnn settings method method.name=gat",
        "clgnn settings optim data.name=cora",
    ),
}

app = typer.Typer(
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="First steps: `clgnn train`, then `clgnn report RUN` with the folder that it names; `clgnn train "
    "data.root=PHOTOS` trains on your own images. `clgnn COMMAND --help` has examples.",
)


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


for _group, _commands in GROUPS.items():
    for _command in _commands:
        _lines = EXAMPLES.get(_command.__name__, ())
        _epilog = "\n\n".join(("Examples:" if len(_lines) > 1 else "Example:", *(f"`{line}`" for line in _lines)))
        app.command(rich_help_panel=_group, epilog=_epilog if _lines else None)(_command)
