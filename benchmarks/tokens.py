"""What is known of tokens before training, ``python -m benchmarks.tokens``, and the tables of their methods.

Measures tokenizers and objectives on digits without training, over three seeds, and writes ``results/tokens.json``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from scipy.stats import spearmanr

from benchmarks.common.page import Block
from benchmarks.common.provenance import source
from benchmarks.common.store import RESULTS, header, read, write
from benchmarks.common.table import MISSING, markdown
from cl_as_gnn.config import load_config
from cl_as_gnn.evaluation.scores import find_score
from cl_as_gnn.runs.load import load_method
from cl_as_gnn.tasks import ImageTask, load_task

OUT = RESULTS / "tokens.json"
SEEDS = (0, 1, 2)
SUITES = Path(__file__).parent / "suites"
BEFORE = {
    "clustermim": {
        "class, K = 10": ["method.tokenizer=class", "method.num_tokens=10"],
        "pixels, K = 200": ["method.num_tokens=200"],
        "pixels, K = 50": ["method.num_tokens=50"],
        "pixels, K = 10": ["method.num_tokens=10"],
        "scrambled, K = 10": ["method.tokenizer=scrambled", "method.num_tokens=10"],
        "random, K = 10": ["method.tokenizer=random", "method.num_tokens=10"],
    },
    "look": {
        "ar": ["method.objective=ar"],
        "ar_diverse, s = 3": ["method.objective=ar_diverse"],
        "ar_diverse, s = 8": ["method.objective=ar_diverse", "method.ahead=8"],
        "masked 0.15": ["method.objective=masked", "method.mask=0.15"],
        "masked 0.5": ["method.objective=masked", "method.mask=0.5"],
        "masked 0.75": ["method.objective=masked"],
        "masked_varied": ["method.objective=masked_varied"],
    },
}
_PROBES = ("linear_top1", "knn_top1", "label10_top1")
_FIRST = {"clustermim": ("tcas", "two_hop_purity"), "look": ("connected", "sigma_2")}
_TOKENS = ("tcas", "two_hop_purity", *_PROBES)
# Tokenizers below which a rank correlation says nothing.
_RANKED = 5
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
    if sum("tcas" in next(iter(entry["seeds"].values())) for entry in results["rows"].values()) < _RANKED:
        return ""
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
    budget = results.get("budget")
    work = f"{budget['view_epochs']} epochs × views" if budget else f"{results['epochs']} epochs"
    head = f"{results['dataset']}, {work}, seeds {', '.join(map(str, results['seeds']))}, mean ± deviation.\n"
    times = (entry.get("seconds") for entry in results["rows"].values())
    about = (
        f"Protocol: {results['protocol']}. {results['date']}, {results['device']}, {results['precision']}, "
        f"{source(path, results, times)}"
    )
    listed = yaml.safe_load((SUITES / f"{name}.yaml").read_text(encoding="utf-8"))["runs"]
    missing = ", ".join(f"`{row}`" for row in listed if row not in results["rows"])
    parts = [head, _table(results, keys), *([found] if more and (found := more(results)) else [])]
    parts += [f"Not run yet: {missing}.\n"] * bool(missing)
    return "\n".join([*parts, about])


def measure() -> dict[str, Any]:
    """What the methods tell of their tokens before training, by method, setting, key and seed."""
    found: dict[str, Any] = {}
    for name, settings in BEFORE.items():
        for title, words in settings.items():
            for seed in SEEDS:
                start = time.process_time()
                config = load_config(None, [f"method.name={name}", f"seed={seed}", *words])
                task = load_task(config, progress=False)
                assert isinstance(task, ImageTask)
                method = load_method(config, task)
                method.prepare(task.preview)
                for key, value in method.scores(task.preview).items():
                    if key in _FIRST[name]:
                        found.setdefault(name, {}).setdefault(title, {}).setdefault(key, []).append(value)
                times = found[name][title].setdefault("cpu_seconds", [])
                times.append(round(time.process_time() - start, 1))
    return found


def before(name: str) -> str:
    """Table of what is known before training."""
    if not OUT.is_file():
        return "No results are checked in: run `python -m benchmarks.tokens`.\n"
    content = read(OUT)
    rows = content["rows"][name]
    keys = _FIRST[name]
    head = ["tokens" if name == "clustermim" else "objective", *(find_score(key).title for key in keys)]
    lines = [[title, *(_cell(row[key], key) for key in keys)] for title, row in rows.items()]
    times = (seconds for row in rows.values() for seconds in row.get("cpu_seconds", []))
    return (
        f"digits, before training, seeds {', '.join(map(str, SEEDS))}, mean ± deviation.\n\n{markdown(head, lines)}\n"
        f"{source(OUT, content, times, 'one tokenizer or objective took, in processor time,')}"
    )


def blocks() -> dict[str, Block]:
    """The blocks of ``docs/clustermim.md`` and ``docs/look.md``."""
    suites = ("clustermim_digits", "clustermim_cifar10")
    found: dict[str, Block] = {name: partial(block, name, _TOKENS, _spearman) for name in suites}
    found |= {f"{name}_before": partial(before, name) for name in BEFORE}
    return found | {"look_digits": partial(block, "look_digits", _LOOK)}


if __name__ == "__main__":
    write(OUT, {**header(), "rows": measure()})
