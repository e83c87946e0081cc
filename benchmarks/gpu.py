"""All that waits for a GPU: tests, speed, the kernels beside the tiles, accuracy. ``bash benchmarks/gpu.sh OUT``.

Writes ``results.json`` and ``results.md`` after every job. The same call goes on: it leaves out what is done, tries
again what failed, and runs that were stopped in training go on from their checkpoints.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.store import Store, read

ROOT = Path(__file__).parents[1]
PARTS = ("gpu", "speed", "tiles", "paper", "best", "depth", "tests")
"""In the order of their worth: ``tiles`` measures all pairs again without the kernels."""

PAIRS = ("all_pairs", "all_pairs_bf16", "all_pairs_large", "memory")
SEEDS = 3
# lightly's benchmark of FastSiam: accuracy by nearest neighbors and minutes.
FASTSIAM = 90.6, 164.0
_HEAD = "| case | | ms | error τ=0.5 | error τ=0.01 | peak MB |"
_SMOKE: dict[str, Any] = {
    "gpu": ["tests/nn/streaming/test_fused.py", "-k", "switch or padded"],
    "speed": ("all_pairs",),
    "seeds": 1,
}


def jobs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Part and name of each job that the options ask for and have data for."""
    smoke = options.smoke
    names: dict[str, Sequence[str]] = {
        "gpu": ("tests of the GPU",),
        "speed": _SMOKE["speed"] if smoke else _groups(),
        "tiles": _SMOKE["speed"] if smoke else PAIRS,
        "paper": tuple(f"seed {seed}" for seed in range(_SMOKE["seeds"] if smoke else SEEDS)),
        "best": ("in the time of FastSiam",),
        "depth": ("norms",),
        "tests": ("all tests",),
    }
    for part in PARTS:
        lacks = {"paper": not (options.images or smoke), "best": not (options.images or smoke)}
        lacks |= {"depth": not options.planetoid, "tests": smoke}
        if part in options.only and not lacks.get(part):
            yield from ({"part": part, "name": name} for name in names[part])


def _groups() -> tuple[str, ...]:
    from benchmarks.speed.__main__ import GROUPS  # loads what is measured

    return tuple(GROUPS)


def command(job: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """The words of a job after ``python -m``; none if there is nothing to do."""
    part, name, out = job["part"], job["name"], options.out
    quick = ["--quick"] if options.smoke else []
    if part == "gpu":
        return ["pytest", "-q", *(_SMOKE["gpu"] if options.smoke else ["-m", "gpu"])]
    if part == "tests":
        return ["pytest", "-q"]
    if part in ("speed", "tiles"):
        return ["benchmarks.speed", *quick, "--only", name, "--out", str(out / f"{part}.json")]
    if part == "depth":
        norms = "ContraNorm τ=1,ContraNorm τ=0.5,ContraNorm τ=0.2"
        words = ["--root", str(options.planetoid), "--device", "cuda", "--out", str(out / "depth.json")]
        return ["benchmarks.graph_ssl.depth", *words, "--norms", norms, "--minutes", "8"]
    if part == "paper":
        # One more seed each time: the runs of the others are kept, and each table has all seeds so far.
        seeds = f"seeds={list(range(int(name.split()[1]) + 1))}"
        suite = ROOT / "benchmarks" / "suites" / f"paper{'_smoke' if options.smoke else ''}.yaml"
        data = [] if options.smoke else [f"data.root={options.images}"]
        return ["cl_as_gnn.cli", "compare", str(suite), seeds, *data, "--out", str(out / "paper")]
    return _best(options)


def _best(options: argparse.Namespace) -> list[str]:
    """Train the best row of the paper's suite for as many epochs as FastSiam's time allows, if that is more."""
    table = options.out / "paper" / "results.json"
    if not table.exists():
        return []
    row, found = best_row(read(table))
    if (options.out / "best" / "config.yaml").exists():
        return ["cl_as_gnn.cli", "train", f"resume={options.out / 'best'}"]
    longer = 2.0 if options.smoke else 0.95 * 60 * FASTSIAM[1] / found["seconds"]
    config = options.out / "paper" / "runs" / row / "seed0" / "config.yaml"
    words = [f"trainer.epochs={int(found['epochs'] * longer)}", f"run_dir={options.out / 'best'}"]
    return ["cl_as_gnn.cli", "train", str(config), *words] if longer >= 1.1 else []


def best_row(results: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and entry of the row with the highest accuracy by nearest neighbors."""
    rows: dict[str, dict[str, Any]] = results["rows"]
    return max(rows.items(), key=lambda item: float(item[1]["knn_top1"]["mean"]))


def found(job: dict[str, Any], out: Path) -> dict[str, Any]:
    """What a job that is done has to tell: accuracies, or milliseconds."""
    if job["part"] == "paper":
        rows = read(out / "paper" / "results.json")["rows"]
        keys = ("knn_top1", "linear_top1")
        return {
            "rows": {
                name: {key: [row[key]["mean"], row[key]["std"]] for key in keys if key in row}
                | {"minutes": row["seconds"] / 60}
                for name, row in rows.items()
            }
        }
    if job["part"] == "best" and (out / "best" / "metrics.json").exists():
        metrics = read(out / "best" / "metrics.json")
        scores = {key: metrics[key] for key in ("method", "epochs", "knn_top1", "linear_top1")}
        return scores | {"train_seconds": metrics["seconds"]}
    return {}


def run(words: Sequence[str], log: Path, env: dict[str, str]) -> int:
    """Run ``python -m WORDS``, show what it prints, and keep it; a stop is passed on and waited for."""
    with log.open("ab") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        try:
            assert child.stdout is not None
            for line in child.stdout:
                file.write(line)
                sys.stdout.buffer.write(line)
                sys.stdout.flush()
            return child.wait()
        except KeyboardInterrupt:
            child.wait()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def markdown(store: Store, out: Path) -> str:
    """What there is so far."""
    lines = [f"# {store.content['gpu'] or 'No GPU: a smoke run, whose numbers mean nothing'}", ""]
    lines += ["| part | job | minutes | |", "| --- | --- | ---: | --- |"]
    for done in store.runs:
        state = "done" if done["code"] == 0 else f"**failed** ({done['part']}.log)"
        lines.append(f"| {done['part']} | {done['name']} | {done['seconds'] / 60:.1f} | {state} |")
    for part in ("speed", "tiles"):
        if (out / f"{part}.json").exists():
            lines += ["", f"## {part}", "", _HEAD, "| --- | --- |" + " ---: |" * 4, *_times(out, part)]
    if tables := [done["rows"] for done in store.runs if "rows" in done]:
        lines += ["", "## paper", "", "| method | kNN top-1 | linear top-1 | minutes |", "| --- | ---: | ---: | ---: |"]
        for name, row in tables[-1].items():
            scores = " | ".join(_score(row.get(key)) for key in ("knn_top1", "linear_top1"))
            lines.append(f"| {name} | {scores} | {row['minutes']:.1f} |")
        lines.append(f"| FastSiam, lightly's | {FASTSIAM[0]} | – | {FASTSIAM[1]:.0f} |")
    for done in store.runs:
        if done["part"] == "best" and done.get("knn_top1") is not None:
            lines.append(
                f"| {done['method']}, {done['epochs']} epochs | {done['knn_top1']:.2f} | {done['linear_top1']:.2f} | "
                f"{done['train_seconds'] / 60:.1f} |"
            )
    return "\n".join(lines) + "\n"


def _score(found: Sequence[float] | None) -> str:
    """Mean and standard deviation, of one seed the value."""
    if found is None:
        return "–"
    return f"{found[0]:.2f}" if math.isnan(found[1]) else f"{found[0]:.2f} ± {found[1]:.2f}"


def _times(out: Path, part: str) -> Iterator[str]:
    for row in read(out / f"{part}.json")["rows"]:
        for contender in row["contenders"]:
            extra, seconds = contender.get("extra", {}), contender.get("median_s")
            ms = None if seconds is None else 1e3 * seconds
            values = (ms, extra.get("error τ=0.5"), extra.get("error τ=0.01"), extra.get("peak MB"))
            cells = " | ".join("–" if value is None else format(value, ".3g") for value in values)
            yield f"| {row['part']} {row['case']} | {contender['name']} | {cells} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the results lack; exit with 1 if a job failed."""
    parser = argparse.ArgumentParser(prog="bash benchmarks/gpu.sh", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the results")
    parser.add_argument("--images", type=Path, help="CIFAR-10 as train/<class>/* and test/<class>/*")
    parser.add_argument("--planetoid", type=Path, help="folder of Cora/raw and CiteSeer/raw")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="begin no further job after as many")
    parser.add_argument("--smoke", action="store_true", help="every part in miniature, on a CPU")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if wrong := [part for part in options.only if part not in PARTS]:
        parser.error(f"--only {wrong[0]}: the parts are {', '.join(PARTS)}")
    if not (options.smoke or torch.cuda.is_available()):
        parser.error("PyTorch finds no GPU here: --smoke tries all parts on a CPU")
    for name in ("out", "images", "planetoid"):
        path = getattr(options, name)
        setattr(options, name, None if path is None else path.absolute())
    options.out.mkdir(parents=True, exist_ok=True)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and not options.smoke else None
    store = Store(options.out / "results.json", {"smoke": options.smoke, "gpu": gpu})
    store.content["runs"] = [done for done in store.runs if done["code"] == 0]  # what failed is tried again
    env = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if options.smoke else {})}
    failed = []
    for job in store.pending(jobs(options), options.minutes):
        print(f"== {job['part']}: {job['name']}", flush=True)  # noqa: T201
        begin, words = time.monotonic(), command(job, options)
        tiles = {"CLGNN_PAIRS": "tiles"} if job["part"] == "tiles" else {}
        code = run(words, options.out / f"{job['part']}.log", env | tiles) if words else 0
        told = found(job, options.out) if code == 0 else {}
        seconds = round(time.monotonic() - begin)
        store.add(**job, **told, seconds=seconds, code=code)
        (options.out / "results.md").write_text(markdown(store, options.out), encoding="utf-8")
        if code:
            failed.append(f"{job['part']}: {job['name']}")
    print(f"{options.out / 'results.md'}")  # noqa: T201
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
