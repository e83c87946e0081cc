"""Use an encoder on other images, in other programs, or to label; prepare images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cl_as_gnn.cli.common import Run, Settings, console, load_settings, loading, split_settings, then
from cl_as_gnn.errors import quoted
from cl_as_gnn.registry import from_source


def embed(
    run: Run,
    out: Annotated[Path, typer.Option(help="A .npz file to write.")],
    images: Annotated[Path | None, typer.Option(help="A folder of other images to embed, at any depth.")] = None,
) -> None:
    """Write the features of every sample of a run's data set (images, nodes or graphs), or of other images.

    The file holds train, train_labels, test, test_labels (and validation), of images also their classes and files, of a
    graph all nodes; with --images it holds features and files, the paths of the images in their folder.
    """
    with loading():
        from cl_as_gnn.runs.load import export_features

    shapes = export_features(run, out, console, images)
    line = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    console.print(f"{out}: {line}", soft_wrap=True, markup=False)
    if images is None:
        then(f"clgnn select {quoted(run)} --budget 50")


def select(
    run: Run,
    budget: Annotated[int, typer.Option(min=1, help="How many images.")] = 50,
    out: Annotated[Path, typer.Option(help="A .csv file to write.")] = Path("labels.csv"),
    images: Annotated[Path | None, typer.Option(help="Choose from this folder instead of the run's images.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A table of images that have labels already.")] = None,
) -> None:
    """Name the images that are worth labeling: the middles of clusters of features.

    Writes a table of them with an empty column label to fill in, and a page of pictures beside it. Then: `clgnn label
    RUN labels.csv`.
    """
    with loading():
        from cl_as_gnn.labeling import select_images

    select_images(run, budget, out, console, images, labels)


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
    with loading():
        from cl_as_gnn.labeling import label_images

    label_images(run, labels, out, console, images)


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
    with loading():
        from cl_as_gnn.runs.export import export_encoder

    console.print(f"{out}: {export_encoder(run, out, format)}", soft_wrap=True, markup=False)


def pack(
    settings: Settings = None,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("packed"),
) -> None:
    """Decode the images of `data.root=PHOTOS` once, into a folder that trains without them: `data.root=OUT`.

    Give the `data.image_size` of the runs to come. A stopped pack goes on where it was. The same folder serves as
    `data.cache=OUT` of runs on the images themselves, which fill it in their first epoch if it is not there.
    """
    config = load_settings(settings)
    with loading():
        from cl_as_gnn.runs.pack import pack_images

    pack_images(config, out, console)


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
        load_views(*split_settings(settings))
    with loading():
        from cl_as_gnn.training.view_generator import write_views

        config, own = load_views(*split_settings(settings))
    write_views(config, own, out, console)
