"""Growth of each part of a step with its number of nodes, and one rank's share: ``python -m benchmarks.scaling``.

One process, one thread, no communication: the arithmetic of one rank.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, header, read, write
from benchmarks.common.table import fixed, markdown
from cl_as_gnn.graph import knn_edges
from cl_as_gnn.graph.knn import search
from cl_as_gnn.nn.streaming import softmax_all_pairs, softmax_local_rows

OUT = RESULTS / "scaling.json"
DIM, TEMPERATURE, K, QUERIES, PROBES = 128, 0.5, 10, 512, 16
FULL: dict[str, Sequence[int]] = {
    "nodes": (1024, 4096, 16384),
    "ranks": (1, 2, 4, 8, 64),
    "bank": (1024, 4096, 16384, 65536, 262144),
}


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Median CPU time of a few calls after a warm-up; with one thread it holds on a busy machine too."""
    call()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def features(n: int, classes: int = 1000) -> Tensor:
    """Unit rows in clusters, as trained features are; in pure noise an index finds nothing."""
    generator = torch.Generator().manual_seed(0)
    center = torch.randn(classes, DIM, generator=generator)
    label = torch.randint(classes, (n,), generator=generator)
    return F.normalize(center[label] + 0.7 * torch.randn(n, DIM, generator=generator), dim=1)


def inverted_lists(bank: Tensor, query: Tensor) -> tuple[Callable[[], Any], float, int]:
    """Build faiss IVF over a bank; returns its search, the seconds of building it and its number of lists."""
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
    """Measure every part; returns rows of ``part``, its size and its seconds."""
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


def growth(result: Mapping[str, Any]) -> str:
    """The complete graph and the kNN graph by number of nodes."""
    seconds_of = {(row["part"], row["n"]): row["s"] for row in result["rows"] if "ranks" not in row}
    rows = [
        [f"{n:,}", *(fixed(1e3 * seconds_of[part, n]) for part in ("all pairs", "kNN graph"))]
        for n in _sizes(result, "all pairs")
    ]
    return markdown(["n", "all-pairs message, ms", f"kNN graph (k = {result['k']}), ms"], rows, left=0)


def shares(result: Mapping[str, Any]) -> str:
    """One rank's rows of the complete graph by number of ranks."""
    rows = [[str(row["ranks"]), fixed(1e3 * row["s"], 0)] for row in result["rows"] if "ranks" in row]
    return markdown(["ranks", "ms per rank"], rows, left=0)


def searches(result: Mapping[str, Any]) -> str:
    """The nearest row of a bank, exact and by inverted lists, by size of the bank."""
    by = {(row["part"], row["n"]): row for row in result["rows"]}
    rows = []
    for n in _sizes(result, "bank"):
        flat, near = by["bank", n], by["bank, IVF", n]
        cells = [fixed(1e3 * flat["s"], 2), fixed(1e3 * near["s"], 2), fixed(near["recall"], 3)]
        rows.append([f"{n:,}", *cells, fixed(near["build_s"], 2)])
    return markdown(["rows K", "flat, ms", "IVF, ms", "recall", "building it, s"], rows, left=0)


def _sizes(result: Mapping[str, Any], part: str) -> list[int]:
    return sorted({row["n"] for row in result["rows"] if row["part"] == part})


TABLES = {"scaling_nodes": growth, "scaling_ranks": shares, "scaling_banks": searches}


def blocks() -> dict[str, Block]:
    """The tables of ``docs/scaling.md``."""
    return {name: partial(_table, name) for name in TABLES}


def _table(name: str) -> str:
    return TABLES[name](read(OUT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    settings = {"threads": torch.get_num_threads(), "dim": DIM, "temperature": TEMPERATURE, "k": K, "probes": PROBES}
    result = {**header(), **settings, "rows": measure(FULL)}
    write(out, result, rows="rows")
    for table in TABLES.values():
        print(table(result))  # noqa: T201


if __name__ == "__main__":
    main()
