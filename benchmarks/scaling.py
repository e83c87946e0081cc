"""How each part of a step grows with its number of nodes, and one rank's share of it: ``python -m benchmarks.scaling``.

One process, one thread, no communication: what is measured is the arithmetic of a rank.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.graph import knn_edges
from cl_as_gnn.graph.knn import search
from cl_as_gnn.nn.streaming import softmax_all_pairs, softmax_local_rows

RESULTS = Path(__file__).parent / "results" / "scaling.json"
DIM, TEMPERATURE, K, QUERIES, PROBES = 128, 0.5, 10, 512, 16
FULL: dict[str, Sequence[int]] = {
    "nodes": (1024, 4096, 16384),
    "ranks": (1, 2, 4, 8, 64),
    "bank": (1024, 4096, 16384, 65536, 262144),
}


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Median CPU time of a few calls, after one that is not counted: that of one thread, also on a busy machine."""
    call()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def features(n: int, classes: int = 1000) -> Tensor:
    """Unit rows in clusters, as trained features lie; an index over rows of pure noise would have nothing to find."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(classes, DIM, generator=generator)
    label = torch.randint(classes, (n,), generator=generator)
    return F.normalize(centre[label] + 0.7 * torch.randn(n, DIM, generator=generator), dim=1)


def inverted_lists(bank: Tensor, query: Tensor) -> tuple[Callable[[], Any], float, int]:
    """faiss IVF over a bank: its search, the seconds of building it, its number of lists."""
    lists = max(1, round(bank.size(0) ** 0.5))
    start = time.process_time()
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(bank.numpy())
    index.add(bank.numpy())
    built = time.process_time() - start
    index.nprobe = PROBES
    return lambda: index.search(query.numpy(), 1), built, lists


def _message(x: Tensor) -> tuple[Tensor, Tensor]:
    return softmax_all_pairs(x, TEMPERATURE, unit=True)


def measure(sizes: dict[str, Sequence[int]], rounds: int = 3) -> list[dict[str, Any]]:
    """Rows of ``part``, its size and its seconds."""
    rows: list[dict[str, Any]] = []
    for n in sizes["nodes"]:
        x = features(n)
        rows.append({"part": "all pairs", "n": n, "s": seconds(partial(_message, x), rounds)})
        rows.append({"part": "kNN graph", "n": n, "s": seconds(partial(knn_edges, x, K), rounds)})
    n = sizes["nodes"][-1]
    x = features(n)
    lse, _ = _message(x)
    for ranks in sizes["ranks"]:
        share = partial(softmax_local_rows, x, torch.arange(n // ranks), lambda _: lse, TEMPERATURE, unit=True)
        rows.append({"part": "all pairs, one rank", "n": n, "ranks": ranks, "s": seconds(share, rounds)})
    for n in sizes["bank"]:
        bank = features(n + QUERIES)
        bank, query = bank[:n], bank[n:]
        rows.append({"part": "bank", "n": n, "queries": QUERIES, "s": seconds(partial(search, bank, query, 1), rounds)})
        near, built, lists = inverted_lists(bank, query)
        exact = search(bank, query, 1)[1].flatten().numpy()
        rows.append(
            {
                "part": "bank, IVF",
                "n": n,
                "queries": QUERIES,
                "s": seconds(near, rounds),
                "build_s": built,
                "lists": lists,
                "recall": float((near()[1].ravel() == exact).mean()),
            }
        )
    return rows


def tables(result: dict[str, Any]) -> list[str]:
    """The rows of the tables of ``docs/scaling.md``."""
    rows = result["rows"]
    by = {(row["part"], row["n"]): row for row in rows if "ranks" not in row}
    lines = [
        f"| {n:,} | {by['all pairs', n]['s'] * 1e3:,.1f} | {by['kNN graph', n]['s'] * 1e3:,.1f} |"
        for n in sorted({row["n"] for row in rows if row["part"] == "all pairs"})
    ]
    lines += [f"| {row['ranks']} | {row['s'] * 1e3:,.0f} |" for row in rows if "ranks" in row]
    for n in sorted({row["n"] for row in rows if row["part"] == "bank"}):
        flat, near = by["bank", n], by["bank, IVF", n]
        times = (1e3 * flat["s"], 1e3 * near["s"], near["recall"], near["build_s"])
        lines.append("| {:,} | {:,.2f} | {:,.2f} | {:.3f} | {:,.2f} |".format(n, *times))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    result = {
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "numpy")} | {"python": platform.python_version()},
        "dim": DIM,
        "temperature": TEMPERATURE,
        "k": K,
        "probes": PROBES,
        "rows": measure(FULL),
    }
    out.write_text(json.dumps(result, indent=2) + "\n")
    print("\n".join(tables(result)))  # noqa: T201


if __name__ == "__main__":
    main()
