"""A run folder as an object."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData

from cl_as_gnn.api.inputs import Given, data_of, encoder_of, graphs_of, pictures_of
from cl_as_gnn.config import GraphDataConfig, RunConfig
from cl_as_gnn.datasets import normalize
from cl_as_gnn.datasets.given import graph_tensors, read_graph
from cl_as_gnn.datasets.images import Rows, Split
from cl_as_gnn.datasets.photos import read_images
from cl_as_gnn.datasets.store import ItemStore
from cl_as_gnn.datasets.view_generator import colored
from cl_as_gnn.encoders import Encoder
from cl_as_gnn.encoders.given import Given as GivenEncoder
from cl_as_gnn.encoders.given import GivenGNN
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation.scores import of_run
from cl_as_gnn.graph import knn_edges
from cl_as_gnn.held import Held
from cl_as_gnn.labeling import label_images, select_images
from cl_as_gnn.methods import Method
from cl_as_gnn.report import write_report
from cl_as_gnn.report.batch_graph import batch_graph
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import embed_split, evaluate_run, load_encoder, load_method, read_header
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import Task, load_task

_QUIET = Console(quiet=True)


class Run:
    """A run and what it has learned. Everything is read from its folder when it is asked for.

    Args:
        path: the run folder.
        data: the data of the run, if they were passed from Python and are too large for the folder to hold.
        encoder: a module as the run was given, if it cannot be made by its class again. Its weights do not matter.

    Raises:
        ConfigError: ``path`` is no run folder, or ``data`` or ``encoder`` are others than those of the run.
    """

    def __init__(self, path: Path | str, data: Any = None, encoder: nn.Module | None = None):
        self.path = Path(path)
        self._folder = open_run(self.path)
        config = self.config
        self._held = held_for(config, data_of(data), encoder_of(encoder, isinstance(config.data, GraphDataConfig)))

    @property
    def config(self) -> RunConfig:
        """All settings."""
        return self._folder.load_config()

    @property
    def metrics(self) -> dict[str, Any]:
        """Scores and facts of the finished run, as in ``metrics.json``; ConfigError if it has not finished."""
        return self._folder.load_metrics()

    @property
    def history(self) -> list[dict[str, float | None]]:
        """One row per epoch, as in ``metrics.csv``."""
        rows = self._folder.read_history()
        return [{key: float(value) if value else None for key, value in row.items()} for row in rows]

    @cached_property
    def encoder(self) -> nn.Module:
        """The trained encoder, in eval mode on the CPU: your own module if you passed one, else an ``Encoder``.

        It reads images as :meth:`prepare` makes them, or graphs.
        """
        encoder = load_encoder(self._folder)
        return encoder.network if isinstance(encoder, GivenEncoder | GivenGNN) else encoder

    @cached_property
    def method(self) -> Method[Any]:
        """The whole method of the last checkpoint, with projector and memory, in eval mode on the CPU."""
        return load_method(self.config, self._task, self._folder)

    def features(self) -> dict[str, Tensor]:
        """Features of the data of the run, without augmentation: ``train``, ``train_labels``, ``test``, … of images,
        ``nodes`` or ``graphs`` of graphs, ``(n, d)`` on the CPU."""
        device = pick_device(self.config.trainer)
        return self._task.features(self._encoder.to(device), device)

    def embed(self, data: Any) -> Tensor:
        """Features of other images or graphs, ``(n, d)``, float32, on the CPU.

        Args:
            data: images as :func:`cl_as_gnn.train` takes them (uint8, or floats from 0 to 1, of any size), a list of
                pictures or a folder; for a run on graphs a ``Data`` or a list of them.

        Raises:
            ConfigError: it is none of these.
        """
        device, config = pick_device(self.config.trainer), self.config
        encoder = self._encoder.to(device)
        if isinstance(config.data, GraphDataConfig):
            with torch.no_grad():
                return encoder(_graph_of(data, config.data).to(device)).float().cpu()  # type: ignore[no-any-return]
        return embed_split(self._folder, encoder, self._split(data), device)

    def prepare(self, images: Any) -> Tensor:
        """Images as the encoder reads them, ``(n, C, S, S)``: the center squares at the size of the run, normalized."""
        header, split = read_header(self._folder), self._split(images)
        pixels = torch.cat(list(colored(split, header["image_size"], self.config.generator)))
        return normalize(pixels, header["mean"], header["std"])

    def graph(self, samples: int = 20) -> HeteroData:
        """The graph that the trained method builds from one minibatch: views, their edges, and whatever it adds.

        That is what ``clgnn inspect --run`` draws, with edges ``("sample", "attraction", "sample")`` and, of nodes,
        those of the data (``("sample", "link", "sample")``).

        Raises:
            ConfigError: the run has no checkpoint.
        """
        return batch_graph(self.config, self._task, self.method, samples).data

    def neighbors(self, k: int = 20) -> Data:
        """The kNN graph of the features of the run's data: ``x`` ``(n, d)``, ``y`` (−1 where unknown), ``edge_index``
        from each neighbor to the row that it is a neighbor of, and ``edge_weight``, their cosine similarity."""
        found = self.features()
        whole: list[str] = [name for name in ("nodes", "graphs") if name in found]
        names = whole or [name for name in ("train", "validation", "test") if name in found]
        x, y = (torch.cat([found[name + end] for name in names]) for end in ("", "_labels"))
        edges, similarity = knn_edges(x, min(k, len(x) - 1))
        return Data(x=x, edge_index=edges, edge_weight=similarity, y=y)

    def select(
        self, budget: int = 50, out: Path | str | None = None, labels: Any = None, images: Path | str | None = None
    ) -> list[str]:
        """Name the images that are worth labeling, as ``clgnn select`` does.

        Args:
            budget: how many.
            out: the table to write, with a sheet of pictures beside it; by default ``labels.csv`` in the run folder.
            labels: of images that have one already, as :meth:`label` takes them.
            images: choose from this folder instead of the images of the run.
        """
        out = Path(out) if out else self.path / "labels.csv"
        with tempfile.TemporaryDirectory() as folder:
            known = None if labels is None else _table(labels, Path(folder))
            select_images(self.path, budget, out, _QUIET, _path(images), known)
        return [row["file"] for row in _read(out)]

    def label(
        self, labels: Any, out: Path | str | None = None, images: Path | str | None = None
    ) -> list[dict[str, str]]:
        """Label every image from few labels, which spread along the kNN graph, as ``clgnn label`` does.

        Args:
            labels: names of classes by the name of the image, a path in the folder of the images or ``train/0`` and so
                on, as :meth:`select` gives them; of images that were passed from Python also their positions; or a
                table with the columns ``file`` and ``label``.
            out: the table to write, with a sheet of pictures beside it; by default ``labeled.csv`` in the run folder.
            images: label this folder instead of the images of the run.

        Returns:
            The rows of the table, doubtful ones first: file, label, confidence, given, decided_by, note.
        """
        out = Path(out) if out else self.path / "labeled.csv"
        with tempfile.TemporaryDirectory() as folder:
            label_images(self.path, _table(labels, Path(folder)), out, _QUIET, _path(images))
        return _read(out)

    def evaluate(self, **settings: Any) -> dict[str, Any]:
        """Score the encoder again with other ``eval.*``, for example ``knn_k=5`` or ``root="PHOTOS"``; nothing is
        written."""
        return evaluate_run(self.path, _QUIET, {"eval": settings})

    def report(self, out: Path | str | None = None) -> Path:
        """Write one HTML page of the run, by default ``report.html`` in its folder."""
        write_report(self.path, _path(out), _QUIET)
        return Path(out) if out else self.path / "report.html"

    @cached_property
    def _task(self) -> Task:
        return load_task(self.config, progress=False)

    @cached_property
    def _encoder(self) -> Encoder:
        return load_encoder(self._folder)

    def _split(self, images: Any) -> Split:
        """Images, read by the batch as the run has read its own."""
        header = read_header(self._folder)
        if "image_size" not in header:
            raise ConfigError(f"{self.path} was trained on graphs: pass a Data, or a list of them")
        channels, side, stored = header["channels"], header["image_size"], header.get("picture_size")
        if isinstance(images, str | Path):
            return read_images(images, channels, side, stored)
        pictures = pictures_of(images, what="images")
        store = ItemStore(pictures.item, pictures.count, max_broken=0.0)
        store.shape = (pictures.count, channels, 0, 0)
        store.keep(stored or side, center=stored in (None, side))
        return Split(Rows(store, torch.arange(pictures.count)), torch.full((pictures.count,), -1))

    def __repr__(self) -> str:
        about = f"{self.config.method.name} on {self.config.data.name}"
        return f"Run({str(self.path)!r}, {about}: {self._scores()})"

    def _scores(self) -> str:
        if not self._folder.metrics.exists():
            return "not finished"
        metrics = self.metrics
        shown = {score.title: score.text(metrics.get(key)) for key, score in of_run(metrics).items()}
        return ", ".join(f"{name} {value}" for name, value in shown.items())


def held_for(config: RunConfig, data: Given, encoder: Given) -> list[Held]:
    """What a run on data and a module from Python needs to be kept; ConfigError if they are not those of the run."""
    for key, given, stored in (("data", data, config.data), ("encoder", encoder, config.encoder)):
        digest = "content" if key == "data" else "module"
        mine, its = given.settings.get(digest), getattr(stored, digest, None)
        if given.held is not None and mine != its:
            its = f"{key}.{digest}={its}" if its else f"{key}.name={stored.name}"
            raise ConfigError(f"{key}: what you pass is not that of the run, which has {its} and not {mine}")
    return [given.held for given in (data, encoder) if given.held is not None]


def _graph_of(data: Any, config: GraphDataConfig) -> Data:
    """One graph, or several as one, as the run has read its own."""
    graphs = graphs_of(data)
    if graphs is None:
        raise ConfigError(f"cannot read a {type(data).__name__}: this run is on graphs, pass a Data or a list of them")
    values = graph_tensors([Data(g.x, g.edge_index, num_nodes=g.num_nodes) for g in graphs])
    out = read_graph(values, config)
    if config.name in ("tu", "given_graphs"):
        out.batch, out.num_graphs = values["batch"], len(graphs)
    return out


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _table(labels: Any, folder: Path) -> Path:
    """A table of labels, written to a folder if they are given by name."""
    if isinstance(labels, str | Path):
        return Path(labels)
    if not isinstance(labels, Mapping):
        raise ConfigError(f"labels: expects {{file: class}} or a table, got a {type(labels).__name__}")
    path = folder / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = ((f"image {name}" if isinstance(name, int) else name, label) for name, label in labels.items())
        csv.writer(file).writerows([("file", "label"), *rows])
    return path


def _read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
