"""The graph that a method builds from one minibatch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.config import DataConfig, RunConfig
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.graph import FeatureQueue, SampleBank
from cl_as_gnn.graph.schema import AUGMENTATION, REWIRED, TARGET_AUGMENTATION
from cl_as_gnn.methods import METHODS, Batch, Method
from cl_as_gnn.nn.operators import Mixture
from cl_as_gnn.nn.terms import Attraction
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_method
from cl_as_gnn.tasks import ImageTask, load_task

ATTRACTION = ("sample", "attraction", "sample")
"""A sample and one whose views attract to it. The weights are read off the method's operators."""


class Relation(NamedTuple):
    """The edges of one type with positive weight, from row 0 to row 1, with one entry per edge in each mask."""

    kind: tuple[str, str, str]
    edge_index: Tensor
    weight: Tensor
    one_way: Tensor
    """Edges without a reverse edge."""
    same: Tensor
    """Edges whose ends have the same class."""
    across: Tensor
    """Edges whose ends have different classes. Neither mask holds an edge with an unknown class."""
    attracts: bool
    """Whether messages flow along these edges; a method may build edges that its terms do not use."""

    def __str__(self) -> str:
        source, name, target = self.kind
        count = len(self.weight)
        if not count:
            return f"{name} ({source} → {target}): no edges"
        low, high = self.weight.min(), self.weight.max()
        weights = f"weight {low:.2g}" if high - low < 0.01 * high else f"weight {low:.2g} … {high:.2g}"
        way = "one-way" if self.one_way.all() else f"{int(self.one_way.sum())} one-way" if self.one_way.any() else ""
        within, across = float(self.weight[self.same].sum()), float(self.weight[self.across].sum())
        purity = f", {100 * within / (within + across):.0f} % of it within a class" if within + across else ""
        return (
            f"{name} ({source} → {target}): {count} edges, {way or 'mutual'}, {weights}"
            + (purity if source in ("sample", "neighbour") else "")
            + ("" if self.attracts else "; not attracted along")
        )


@dataclass
class BatchGraph:
    """A minibatch graph with images and labels of its nodes.

    Attributes:
        data: result of ``Method.graph`` and ``Method.rewire``, and :data:`ATTRACTION` edges if samples attract others.
        images: images ``(nodes, H, W, 3)`` in [0, 1] for each node type with edges except ``sample``.
        labels: class of each node for the same types and ``sample``, −1 if unknown.
        gate: agreement of the views' neighbourhoods and share λ, if the method has them.
        one_way: whether views attract only to nodes that receive no message from them.
    """

    data: HeteroData
    images: dict[str, np.ndarray[Any, Any]]
    labels: dict[str, Tensor]
    gate: dict[str, float]
    one_way: bool

    def relations(self) -> list[Relation]:
        """Return the edges of each type."""
        across = ATTRACTION in self.data.edge_types
        return [self._relation(kind, across if kind[0] == "sample" else True) for kind in self.data.edge_types]

    def _relation(self, kind: tuple[str, str, str], attracts: bool) -> Relation:
        store = self.data[kind]
        weight = store.get("edge_weight")
        weight = torch.ones(store.edge_index.size(1)) if weight is None else weight.float()
        (source, target), weight = store.edge_index[:, weight > 0], weight[weight > 0]
        size = 1 + int(store.edge_index.max()) if store.edge_index.numel() else 1
        if kind[0] != kind[2]:
            one_way = torch.ones_like(source, dtype=torch.bool)
        else:
            one_way = ~torch.isin(source * size + target, target * size + source)
        own, other = self.labels[kind[0]][source], self.labels[kind[2]][target]
        replaced = kind == TARGET_AUGMENTATION and REWIRED in self.data.edge_types
        attracts = attracts and not replaced and not (kind == AUGMENTATION and self.one_way)
        known = (own >= 0) & (other >= 0)
        same, across = known & (own == other), known & (own != other)
        return Relation(kind, torch.stack([source, target]), weight, one_way, same, across, attracts)

    def lines(self) -> list[str]:
        """Describe the graph: one line per edge type, per node type that is not drawn, and for the gate."""
        gate = ", ".join(f"{name} {value:.2f}" for name, value in self.gate.items())
        alone = [name for name in self.data.node_types if name not in self.labels]
        return [
            *map(str, self.relations()),
            *(f"{name}: {len(self.data[name].x)} nodes without edges, not drawn" for name in alone),
            *([f"gate: {gate}"] if gate else []),
        ]


def inspect_batch(config: RunConfig | None, run_path: Path | None, out: Path, samples: int) -> list[str]:
    """Draw the graph of one minibatch and return the lines to print.

    Args:
        config: data and method; ``None`` uses the settings of ``run_path``.
        run_path: run whose last checkpoint is loaded; ``None`` draws the graph of an untrained method.
        out: path of a ``.png``, ``.svg`` or ``.pdf`` file.
        samples: number of images in the batch.
    """
    from cl_as_gnn.report.draw import draw_graph

    if out.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--out {out}: pictures are .png, .svg or .pdf, name the file {out.with_suffix('.png').name}")
    run = None if run_path is None else open_run(run_path)
    config = config or (run.load_config() if run else None)
    assert config is not None
    if not isinstance(config.data, DataConfig):
        raise ConfigError(f"data.name={config.data.name} is a graph: clgnn inspect draws minibatches of images")
    task = load_task(config)
    assert isinstance(task, ImageTask)
    torch.manual_seed(config.seed)
    method = load_method(config, task, run)
    batch = batch_graph(config, task, method, samples)
    count = len(batch.labels["sample"])
    state = "trained" if run else "untrained"
    figure = draw_graph(batch, f"{config.method.name} on {task.name}: {count} images, {state} encoder")
    try:
        figure.savefig(out, dpi=200)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from None
    memory = any(isinstance(part, FeatureQueue | SampleBank) for part in method.modules())
    return [
        f"{out}: {config.method.name}, {count} images × {config.method.num_views} views",
        *batch.lines(),
        f"attracts: {METHODS[config.method.name].attracts}",
        f"repels: {METHODS[config.method.name].repels}",
        *([] if run else [f"untrained{', its memory empty' * memory}: --run RUN draws the graph of a trained method"]),
    ]


@torch.no_grad()
def batch_graph(config: RunConfig, task: ImageTask, method: Method[Any], samples: int) -> BatchGraph:
    """Build the graph of one minibatch as at the end of training.

    Args:
        config: settings of the run; the seed selects the images.
        task: training images and their augmentation.
        method: result of :func:`cl_as_gnn.runs.load.load_method`.
        samples: number of images, at most the size of the training set.
    """
    train = task.data.train
    generator = torch.Generator().manual_seed(config.seed)
    sample = torch.randperm(len(train), generator=generator)[:samples]
    pixels = task.views()(train.images[sample], config.method.num_views, generator)
    batch = Batch(pixels, sample, 1.0, train.labels[sample])
    torch.manual_seed(config.seed)
    method.begin_epoch(1.0)
    # Only the method itself is in training mode: it drops edges, while its networks stay in eval mode.
    method.training = True
    data = method.rewire(method.graph(batch), batch)
    method.training = False
    terms = [term for term in method.terms(data, batch) if isinstance(term, Attraction)]
    gate = [("agreement", float(store.agreement)) for store in data.edge_stores if "agreement" in store]
    gate += [("λ", float(term.graph.weight)) for term in terms if isinstance(term.graph, Mixture)]
    into_views = any(source != "view" for source, _, target in data.edge_types if target == "view")
    one_way = into_views and all(term.source is not None for term in terms)
    _add_attraction(data, terms, len(sample), one_way)
    mean, std = (torch.tensor(s).view(1, -1, 1, 1) for s in task.stats)
    images, labels = {}, {"sample": train.labels[sample]}
    drawn = {end for source, _, target in data.edge_types for end in (source, target)} - {"sample"}
    for name in drawn:
        if name in ("view", "target"):
            owner, tiles = sample.repeat(config.method.num_views), pixels * std + mean
        else:
            owner = data[name].get("sample", torch.full((len(data[name].x),), -1))
            tiles = torch.where((owner < 0).view(-1, 1, 1, 1), 0.8, train.images[owner] / 255)
        images[name] = tiles.clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
        labels[name] = torch.where(owner < 0, -1, train.labels[owner])
    return BatchGraph(data, images, labels, dict(gate), one_way)


def _add_attraction(data: HeteroData, terms: list[Attraction], size: int, one_way: bool) -> None:
    """Add the weights between different samples of the operators A, which may have no edge list.

    Weights are summed over the views of the source and averaged over those of the target. Where both ends receive the
    message, the weights are those of ½(A + Aᵀ).
    """
    n, views = data["view"].x.size(0), int(data.num_views)
    square = [term for term in terms if not isinstance(term.source, Tensor) or term.source.size(0) == n]
    total = sum((term.graph.matmul(torch.eye(n)) for term in square), torch.zeros(n, n))
    between = total.view(views, size, views, size).sum(2).mean(0).fill_diagonal_(0)
    between = between if one_way else (between + between.t()) / 2
    target, source = (between > 1e-6).nonzero().t()
    if len(source):
        data[ATTRACTION].edge_index = torch.stack([source, target])
        data[ATTRACTION].edge_weight = between[target, source]
