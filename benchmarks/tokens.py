"""Tables of the methods that predict tokens, from the results of their suites."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import spearmanr

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, read
from benchmarks.common.table import MISSING, markdown
from cl_as_gnn.evaluation.scores import find_score

_PROBES = ("linear_top1", "knn_top1", "label10_top1")
_TOKENS = ("tcas", "two_hop_purity", *_PROBES)
_LOOK = ("connected", "sigma_2", "token_nll", *_PROBES)


def _cell(values: Sequence[float], key: str) -> str:
    if not values:
        return MISSING
    score = find_score(key)
    return f"{score.text(mean(values))} ± {score.text(stdev(values))}" if len(values) > 1 else score.text(values[0])


def _table(results: Mapping[str, Any], keys: Sequence[str]) -> str:
    rows = []
    for row, entry in results["rows"].items():
        seeds = entry["seeds"].values()
        values = {key: [s[key] for s in seeds if s.get(key) is not None] for key in keys}
        rows.append([f"`{row}`", *(_cell(values[key], key) for key in keys)])
    for name, row in results["baselines"].items():  # of the first seed
        rows.append([name, *(_cell([row[key]] if key in row else [], key) for key in keys)])
    titles = [find_score(key).title + ", %" * (find_score(key).unit == "%") for key in keys]
    return markdown(["run", *titles], rows)


def correlations(results: Mapping[str, Any], key: str) -> dict[str, float]:
    """Spearman's rank correlation of TCAS with a score over the runs that have tokens, by seed."""
    found = {}
    for seed in map(str, results["seeds"]):
        runs = [entry["seeds"][seed] for entry in results["rows"].values() if seed in entry["seeds"]]
        pairs = [(run["tcas"], run[key]) for run in runs if run.get("tcas") is not None]
        found[seed] = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    return found


def _spearman(results: Mapping[str, Any]) -> str:
    texts = []
    for key in ("knn_top1", "linear_top1"):
        values = correlations(results, key)
        texts.append(f"{find_score(key).title} {', '.join(f'{value:.2f}' for value in values.values())}")
    return f"Spearman's correlation with TCAS by seed: {'; '.join(texts)}.\n"


def block(
    name: str, keys: Sequence[str], more: Callable[[Mapping[str, Any]], str] | None = None, folder: Path = RESULTS
) -> str:
    """Table and provenance of a suite, with its own columns."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return f"No results are checked in: run `clgnn compare benchmarks/suites/{name}.yaml`.\n"
    results = read(path)
    versions, epochs = results["versions"], results["epochs"]
    head = f"{results['dataset']}, {epochs} epochs, seeds {', '.join(map(str, results['seeds']))}, mean ± deviation.\n"
    source = (
        f"Protocol: {results['protocol']}. {results['date']}, torch {versions['torch']}, {results['device']}, "
        f"{results['precision']}; every number by seed is in "
        f"[benchmarks/results/{name}.json](../benchmarks/results/{name}.json).\n"
    )
    parts = [head, _table(results, keys), *([more(results)] if more else []), source]
    return "\n".join(parts)


def blocks() -> dict[str, Block]:
    """The blocks of ``docs/clustermim.md`` and ``docs/look.md``."""
    suites = ("clustermim_digits", "clustermim_cifar10")
    found: dict[str, Block] = {name: partial(block, name, _TOKENS, _spearman) for name in suites}
    return found | {"look_digits": partial(block, "look_digits", _LOOK)}
