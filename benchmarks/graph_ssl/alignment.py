"""``python -m benchmarks.graph_ssl.alignment --root DATA``: no negatives; does a norm alone prevent collapse?

Resumable: run again, it goes on where it stopped, and with more ``--seeds`` it adds them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import MeanSubtractionNorm, PairNorm

from benchmarks.common.page import Block
from benchmarks.common.provenance import sourced
from benchmarks.common.store import RESULTS, Store, grid
from benchmarks.common.table import markdown, spread
from benchmarks.graph_ssl.options import options_of
from benchmarks.graph_ssl.planetoid import FixedProduct, features, load
from cl_as_gnn.evaluation import effective_rank
from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn import ContraNorm
from cl_as_gnn.nn.functional import alignment_loss, nt_xent
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.tasks import propagated

WIDTH, EPOCHS, RATE, DECAY, TEMPERATURE = 64, 100, 5e-3, 1e-5, 0.4
DROP_EDGE, MASK_FEATURE = (0.3, 0.4), (0.3, 0.4)
OUT = RESULTS / "graph_ssl_alignment.json"
ABOUT = {
    "protocol": (
        "Cora, two views by edge drop .3/.4 and feature mask .3/.4; GCN 1433-64-64 with ReLU between, the norm on its "
        "output, no projector, no predictor; alignment loss (squared distance of unit features of the same node), "
        "for the reference NT-Xent at τ = .4; Adam, lr 5e-3, weight decay 1e-5, 100 epochs, the last one counts; "
        "ContraNorm with s = 1 and its LayerNorm; probe: logistic regression on unit features of the frozen encoder, "
        "public split, C of 1, 10, 100, 1000 by "
        "validation accuracy; 1,000 test nodes; untrained = the same before the first step; "
        "floor: the same probe on AᵏX, A the symmetrically normalized graph, k of 0 to 8 by validation accuracy"
    )
}
FLOOR = "AᵏX"
REFERENCE = "none, with negatives (NT-Xent)"


def _layer_norm() -> torch.nn.Module:
    return torch.nn.LayerNorm(WIDTH)


NORMS: dict[str, Callable[[], torch.nn.Module]] = {
    "none": torch.nn.Identity,
    "LayerNorm": _layer_norm,
    "PairNorm": PairNorm,
    "mean subtraction": MeanSubtractionNorm,
    "mean subtraction + LayerNorm": lambda: torch.nn.Sequential(MeanSubtractionNorm(), _layer_norm()),
    "linear ContraNorm, (1 + s) x − s P x": lambda: ContraNorm(WIDTH, 1.0, linear=True),
    "linear ContraNorm, x − P x": lambda: ContraNorm(WIDTH, 1.0, linear=True, identity=False),
    "ContraNorm τ=0.2, (1 + s) x − s P x": lambda: ContraNorm(WIDTH, 1.0, 0.2),
    "ContraNorm τ=1, x − P x": lambda: ContraNorm(WIDTH, 1.0, identity=False),
    "ContraNorm τ=0.2, x − P x": lambda: ContraNorm(WIDTH, 1.0, 0.2, identity=False),
    REFERENCE: torch.nn.Identity,
}


class Views:
    """The graph and its features, whole or with edges and channels left out."""

    def __init__(self, data: Data):
        loop = torch.arange(data.num_nodes).repeat(2, 1)
        self.edge_index = torch.cat([data.edge_index, loop], dim=1)
        self.edges, self.nodes = data.num_edges, data.num_nodes
        ones = torch.ones(self.edge_index.size(1))
        self.graph = FixedProduct(Adjacency(self.edge_index, ones, self.nodes))
        self.x = features(data.x)

    def weights(self, drop: float = 0.0) -> Tensor:
        """GCN's symmetric weights of the edges that are kept; self-loops always are."""
        kept = torch.ones(self.edge_index.size(1))
        kept[: self.edges] = (torch.rand(self.edges) >= drop).float()
        degree = torch.zeros(self.nodes).index_add_(0, self.edge_index[1], kept)
        return kept * degree.rsqrt()[self.edge_index].prod(0)


class Encoder(torch.nn.Module):
    """A two-layer GCN with a norm on its output."""

    def __init__(self, in_channels: int, norm: torch.nn.Module):
        super().__init__()
        self.first = torch.nn.Parameter(torch.empty(in_channels, WIDTH))
        self.second = torch.nn.Parameter(torch.empty(WIDTH, WIDTH))
        self.biases = torch.nn.Parameter(torch.zeros(2, WIDTH))
        torch.nn.init.xavier_uniform_(self.first)
        torch.nn.init.xavier_uniform_(self.second)
        self.norm = norm

    def forward(self, views: Views, drop: float = 0.0, mask: float = 0.0) -> Tensor:
        weights = views.weights(drop)
        seen = (torch.rand(self.first.size(0), 1) >= mask).float()
        hidden = views.graph(views.x(seen * self.first), weights) + self.biases[0]
        out: Tensor = self.norm(views.graph(hidden.relu() @ self.second, weights) + self.biases[1])
        return out


def probe(z: Tensor, data: Data) -> dict[str, float]:
    """Test accuracy of a logistic regression on frozen features, and how far they have collapsed."""
    unit = F.normalize(z, dim=1)
    return {
        "test": scores(unit, data)[1],
        "cosine": round(float(unit.mean(0).square().sum()), 4),
        "rank": round(float(effective_rank(unit)), 2),
    }


def scores(unit: Tensor, data: Data) -> tuple[float, float]:
    """Validation and test accuracy of a logistic regression, its C chosen by the former."""
    x, y = unit.numpy(), data.y.numpy()
    train, validation, test = (np.flatnonzero(m.numpy()) for m in (data.train_mask, data.val_mask, data.test_mask))
    scored = []
    for strength in (1, 10, 100, 1000):
        model = LogisticRegression(C=strength, max_iter=2000).fit(x[train], y[train])
        scored.append((model.score(x[validation], y[validation]), model.score(x[test], y[test])))
    best = max(scored, key=lambda pair: pair[0])
    return round(100 * best[0], 2), round(100 * best[1], 2)


def floor(data: Data) -> dict[str, Any]:
    """The probe of the best of the powers AᵏX, by validation accuracy."""
    powers = [F.normalize(power, dim=1) for power in propagated(data)]
    found = [scores(power, data) for power in powers]
    k = max(range(len(found)), key=lambda k: found[k][0])
    return {"k": k} | probe(powers[k], data)


def train(data: Data, views: Views, norm: str, seed: int) -> dict[str, Any]:
    """One run: the probe of the trained encoder, and of the untrained one."""
    torch.manual_seed(seed)
    encoder = Encoder(data.num_features, NORMS[norm]())
    positives = augmentation_edges(views.nodes, 2, data.x.device)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=RATE, weight_decay=DECAY)
    start = time.process_time()
    with torch.no_grad():
        before = probe(encoder(views), data)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        z = torch.cat([encoder(views, *rates) for rates in zip(DROP_EDGE, MASK_FEATURE, strict=True)])
        loss = nt_xent(z, positives, TEMPERATURE) if norm == REFERENCE else alignment_loss(z, positives)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        after = probe(encoder(views), data)
    seconds = round(time.process_time() - start, 2)
    return after | {"untrained": before["test"], "loss": round(loss.item(), 5), "cpu_seconds": seconds}


def run(
    root: Path,
    out: Path = OUT,
    seeds: int = 5,
    norms: Sequence[str] = tuple(NORMS),
    minutes: float | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All runs that ``out`` does not have yet, seed by seed; returns what is in it. As in :mod:`.depth`."""
    report = Store(out, ABOUT)
    data = load(root, "Cora")
    views = Views(data)
    if not report.has(norm=FLOOR):
        report.add(norm=FLOOR, seed=0, **floor(data))
    for job in report.pending(grid(seed=range(seeds), norm=norms), minutes):
        result = train(data, views, **job)
        report.add(**job, **result)
        say(f"{job['norm']}, seed {job['seed']}: {result}")
    return report.content


def table(content: Mapping[str, Any]) -> str:
    """Probe and collapse by norm, in markdown."""
    rows = []
    for norm in NORMS:
        runs = [r for r in content["runs"] if r["norm"] == norm]
        cells = [spread([r[key] for r in runs]) for key in ("untrained", "test", "rank")]
        cosine = f"{sum(r['cosine'] for r in runs) / len(runs):.2f}" if runs else "–"
        rows.append([norm, *cells, cosine])
    floors = [r for r in content["runs"] if r["norm"] == FLOOR]
    rows.extend(
        [f"floor: {FLOOR}, k = {r['k']}", "–", f"{r['test']:.1f}", f"{r['rank']:.1f}", f"{r['cosine']:.2f}"]
        for r in floors
    )
    return markdown(["norm", "untrained", "trained", "effective rank", "mean cosine"], rows)


def blocks() -> dict[str, Block]:
    """The blocks of the docs pages."""
    return {"alignment": partial(sourced, table, OUT)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run."""
    parser = options_of(".alignment", __doc__, OUT)
    parser.add_argument("--skip-exact", action="store_true", help="without the rows that visit all pairs of nodes")
    parser.add_argument("--minutes", type=float, help="begin no run after so many")
    options = parser.parse_args(arguments)
    norms = [norm for norm in NORMS if not (options.skip_exact and norm.startswith("ContraNorm"))]
    run(options.root, options.out, options.seeds, norms, options.minutes)


if __name__ == "__main__":
    main()
