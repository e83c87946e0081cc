"""``python -m benchmarks.graph_ssl.depth --root DATA``: deep GCNs with a norm after every layer, on Planetoid.

Resumable: run again, it goes on where it stopped, and with more ``--seeds`` it adds them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import MeanSubtractionNorm, PairNorm

from benchmarks.common.page import Block
from benchmarks.common.provenance import sourced
from benchmarks.common.store import RESULTS, Store, grid
from benchmarks.common.table import markdown, spread
from benchmarks.graph_ssl.options import options_of
from benchmarks.graph_ssl.planetoid import FixedProduct, dropout, features, load, mean_adjacency
from cl_as_gnn.compare.results import interval
from cl_as_gnn.nn import ContraNorm

WIDTH, EPOCHS, RATE, DECAY, DROPOUT = 32, 200, 5e-3, 5e-4, 0.6
DEPTHS = (2, 4, 8, 16, 32)
DATASETS = ("Cora", "CiteSeer")
OUT = RESULTS / "graph_ssl_depth.json"
ABOUT = {
    "protocol": (
        "supervised GCN, hidden 32, propagation D^-1 (A + I), one norm module shared by all hidden layers, order: "
        "dropout 154/256, convolution, norm, ReLU; features of unit L1 norm; Adam, lr 5e-3, weight decay 5e-4, "
        "200 epochs, the last one counts; public split; test = its 1,000 test nodes, rest = all nodes outside training "
        "and validation (2,068 of Cora, 2,707 of CiteSeer)"
    )
}
EXACT = tuple(f"ContraNorm τ={temperature}" for temperature in (1, 0.5, 0.2))
LINEAR = tuple(f"linear ContraNorm s={scale}" for scale in (1, 0.8, 0.5, 0.2))
WITHOUT_IDENTITY = "linear ContraNorm x − P x"
FORMS = (*EXACT, *LINEAR, WITHOUT_IDENTITY)
CONTROL = "mean subtraction + LayerNorm"


def _contra(name: str) -> Callable[[], torch.nn.Module]:
    kind, value = name.split("=")
    if kind.startswith("linear"):
        return lambda: ContraNorm(WIDTH, float(value), linear=True)
    return lambda: ContraNorm(WIDTH, 1.0, float(value))


NORMS: dict[str, Callable[[], torch.nn.Module]] = {
    "none": torch.nn.Identity,
    "LayerNorm": lambda: torch.nn.LayerNorm(WIDTH),
    "PairNorm": PairNorm,
    "mean subtraction": MeanSubtractionNorm,
    CONTROL: lambda: torch.nn.Sequential(MeanSubtractionNorm(), torch.nn.LayerNorm(WIDTH)),
    **{name: _contra(name) for name in (*EXACT, *LINEAR)},
    WITHOUT_IDENTITY: lambda: ContraNorm(WIDTH, 1.0, linear=True, identity=False),
}


class DeepGCN(torch.nn.Module):
    """Layers of a row-normalized graph convolution, each but the last followed by the same norm and a ReLU."""

    def __init__(self, in_channels: int, classes: int, depth: int, norm: torch.nn.Module):
        super().__init__()
        widths = [in_channels, *[WIDTH] * (depth - 1), classes]
        self.weights = torch.nn.ParameterList(torch.empty(a, b) for a, b in pairwise(widths))
        self.biases = torch.nn.ParameterList(torch.zeros(b) for b in widths[1:])
        for weight in self.weights:
            torch.nn.init.xavier_uniform_(weight)
        self.norm = norm

    def forward(self, x: FixedProduct, graph: FixedProduct) -> Tensor:
        rate = DROPOUT if self.training else 0.0
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer == 0:
                hidden = x(weight, dropout(x.value, rate) if rate else None)
            else:
                hidden = self.norm(hidden).relu()
                hidden = (dropout(hidden, rate) if rate else hidden) @ weight
            hidden = graph(hidden) + bias
        return hidden


def train(data: Data, x: FixedProduct, graph: FixedProduct, norm: str, depth: int, seed: int) -> dict[str, Any]:
    """One run: accuracies in per cent, and how alike the outputs are (mean cosine over all pairs)."""
    torch.manual_seed(seed)
    model = DeepGCN(data.num_features, int(data.y.max()) + 1, depth, NORMS[norm]()).to(data.x.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
    start = time.process_time()
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        out = model(x, graph)
        F.cross_entropy(out[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
    with torch.no_grad():
        out = model.eval()(x, graph)
    right = (out.argmax(1) == data.y).float()
    masks = {"train": data.train_mask, "validation": data.val_mask, "test": data.test_mask, "rest": data.rest_mask}
    accuracy = {key: round(100 * float(right[mask].mean()), 2) for key, mask in masks.items()}
    cosine = round(float(F.normalize(out, dim=1).mean(0).square().sum()), 4)
    return accuracy | {"cosine": cosine, "cpu_seconds": round(time.process_time() - start, 2)}


def run(
    root: Path,
    out: Path = OUT,
    seeds: int = 5,
    datasets: Sequence[str] = DATASETS,
    depths: Sequence[int] = DEPTHS,
    norms: Sequence[str] = tuple(NORMS),
    minutes: float | None = None,
    say: Callable[[str], None] = print,
    device: str = "cpu",
) -> dict[str, Any]:
    """All runs that ``out`` does not have yet, seed by seed; returns what is in it.

    Args:
        root: PyG's Planetoid folder.
        out: JSON file, written after every run.
        seeds: seeds 0 to seeds − 1.
        datasets: of Planetoid.
        depths: layers.
        norms: keys of ``NORMS``.
        minutes: stop after the run in which that time is over.
        say: where a line a run goes.
        device: to train on; kept with the runs of a GPU, whose ``cpu_seconds`` are those of the host.
    """
    report = Store(out, ABOUT)
    where = {} if device == "cpu" else {"device": torch.cuda.get_device_name(device)}
    loaded = {name: load(root, name).to(device) for name in datasets}
    ready = {name: (data, features(data.x), mean_adjacency(data)) for name, data in loaded.items()}
    for job in report.pending(grid(seed=range(seeds), norm=norms, depth=depths, data=datasets), minutes):
        name, norm, depth, seed = (job[key] for key in ("data", "norm", "depth", "seed"))
        result = train(*ready[name], norm, depth, seed)
        report.add(**job, **result, **where)
        seconds = result["cpu_seconds"]
        say(f"{name}, {depth} layers, {norm}, seed {seed}: {result['test']} %, {seconds} s of CPU")
    return report.content


def accuracies(content: Mapping[str, Any], name: str, norm: str, depth: int, split: str = "test") -> list[float]:
    """Of all seeds."""
    key = (name, norm, depth)
    return [r[split] for r in content["runs"] if (r["data"], r["norm"], r["depth"]) == key]


def chosen(content: Mapping[str, Any], name: str, depth: int) -> str | None:
    """The form of ContraNorm of the highest mean validation accuracy among those with as many seeds as any."""
    found = {n: accuracies(content, name, n, depth, "validation") for n in FORMS}
    most = max(map(len, found.values()))
    return max((n for n, v in found.items() if len(v) == most), key=lambda n: mean(found[n])) if most else None


def ahead(content: Mapping[str, Any], name: str, norm: str, depth: int) -> str:
    """How far a norm is ahead of centring with the same LayerNorm, paired over seeds, ± half of its 95 % interval."""
    found = {
        which: {
            r["seed"]: r["test"] for r in content["runs"] if (r["data"], r["norm"], r["depth"]) == (name, which, depth)
        }
        for which in (norm, CONTROL)
    }
    seeds = sorted(found[norm].keys() & found[CONTROL].keys())
    if len(seeds) < 2:
        return "–"
    middle, half = interval([found[norm][seed] - found[CONTROL][seed] for seed in seeds])
    return f"{middle:+.1f} ± {half:.1f}"


def table(content: Mapping[str, Any], name: str) -> str:
    """Test accuracy by norm and depth, in markdown."""
    rows = []
    for norm in NORMS:
        label = norm + (" + LayerNorm" if "Contra" in norm else "")
        rows.append([label, *(spread(accuracies(content, name, norm, depth)) for depth in DEPTHS)])
    best = {depth: chosen(content, name, depth) for depth in DEPTHS}
    cells = [
        f"{spread(accuracies(content, name, norm, depth))}: {norm.replace('ContraNorm ', '')}" if norm else "–"
        for depth, norm in best.items()
    ]
    rows.append(["**best ContraNorm by validation**", *cells])
    rows.append(
        ["its lead over centring", *(ahead(content, name, n, depth) if n else "–" for depth, n in best.items())]
    )
    rows = [row for row in rows if set(row[1:]) != {"–"}]
    return markdown([name, *(f"{depth} layers" for depth in DEPTHS)], rows)


def tables(content: Mapping[str, Any]) -> str:
    """The tables of all data sets that have runs."""
    done = {run["data"] for run in content["runs"]}
    return "\n".join(table(content, name) for name in DATASETS if name in done)


def blocks() -> dict[str, Block]:
    """The blocks of the docs pages."""
    return {"depth": partial(sourced, tables, OUT)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run."""
    parser = options_of(".depth", __doc__, OUT)
    parser.add_argument("--data", default=",".join(DATASETS), help="(default: %(default)s)")
    parser.add_argument("--depths", default=",".join(map(str, DEPTHS)), help="(default: %(default)s)")
    parser.add_argument("--norms", default=",".join(NORMS), help="separated by commas (default: all)")
    parser.add_argument("--device", default="cpu", help="cuda makes the exact ContraNorm fast (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="begin no run after so many")
    options = parser.parse_args(arguments)
    depths = [int(depth) for depth in options.depths.split(",")]
    norms = options.norms.split(",")
    if wrong := [norm for norm in norms if norm not in NORMS]:
        parser.error(f"--norms {','.join(wrong)}: there are {', '.join(NORMS)}")
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: PyTorch finds no GPU here, use --device cpu")
    run(
        options.root,
        options.out,
        options.seeds,
        options.data.split(","),
        depths,
        norms,
        options.minutes,
        device=options.device,
    )


if __name__ == "__main__":
    main()
