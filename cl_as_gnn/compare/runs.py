"""Train the runs of a suite, each in its own process."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
import yaml
from rich.console import Console

from cl_as_gnn.compare.processes import Processes
from cl_as_gnn.compare.progress import SuiteProgress
from cl_as_gnn.compare.results import available_cores, curves, has_purity, markdown, picture, summarize
from cl_as_gnn.compare.suite import Cell, Suite
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.lock import locked
from cl_as_gnn.runs.stop import interruptible

_POLL = 1.0  # seconds between two looks at the epochs of the runs


def run_suite(suite: Suite, cells: Sequence[Cell], out: Path, jobs: int, console: Console) -> dict[str, Any]:
    """Train the runs that have not finished, ``jobs`` at a time, and write results.json, results.md, results.png and,
    if the suite has curves and the images have labels, curves.png.

    A stopped run continues from its checkpoint; finished runs are kept. Each run is a process with its own GPU, if the
    machine has several, and with its share of the cores. On a CPU the number of threads changes the order of sums, so
    the last digits of a run depend on ``jobs``.

    Raises:
        ConfigError: another process works in ``out``, or it holds other settings.
        Interrupted: Ctrl-C or SIGTERM; the runs have ended, and all is kept.
        RunError: a run failed; the others are trained and kept.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be created: {error.strerror}") from None
    cure = "the same command goes on with the runs that have not finished"
    with (
        locked(out),
        closing(Processes()) as processes,
        interruptible(lambda what: f"{what}: {cure}", processes.end),
    ):
        return _run_suite(suite, cells, out, jobs, console, processes)


def _run_suite(
    suite: Suite, cells: Sequence[Cell], out: Path, jobs: int, console: Console, processes: Processes
) -> dict[str, Any]:
    waiting = [cell for cell in cells if cell.metrics is None]
    with SuiteProgress(suite.name, cells, waiting, console) as progress, ThreadPoolExecutor(jobs) as pool:
        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(jobs):
            free.put(slot)
        futures = {pool.submit(_in_a_slot, cell, free, jobs, out, processes): cell for cell in waiting}
        pending, errors = set(futures), []
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL, return_when=FIRST_COMPLETED)
                for future in done:
                    errors.append(future.result())
                    progress.ended(futures[future], failed=errors[-1] is not None)
                progress.show()
        except BaseException:
            processes.end()  # the pool waits for its threads, and they wait for these
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failures := list(filter(None, errors)):
        raise RunError(f"{len(failures)} of {len(cells)} runs failed, the first: {failures[0]}; the others are kept")
    results = summarize(suite, cells)
    run = RunFolder(out)
    run.write(out / "results.json", json.dumps(results, indent=2) + "\n")
    run.write(out / "results.md", markdown(results))
    picture(results).savefig(out / "results.png", dpi=150)
    if suite.curves and has_purity(results):
        curves(results).savefig(out / "curves.png", dpi=150)
    return results


def _in_a_slot(cell: Cell, free: SimpleQueue[int], jobs: int, out: Path, processes: Processes) -> str | None:
    slot = free.get()
    try:
        return _train(cell, slot, jobs, out, processes)
    finally:
        free.put(slot)


def _train(cell: Cell, slot: int, jobs: int, out: Path, processes: Processes) -> str | None:
    """Train one run in its own process; returns its error message, or ``None``."""
    env = dict(os.environ)
    visible = env.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if cell.config.trainer.accelerator == "cpu" or not gpus:
        share, given = max(1, available_cores() // jobs), env.get("OMP_NUM_THREADS", "")
        env["OMP_NUM_THREADS"] = str(min(share, int(given)) if given.isdigit() and int(given) else share)
    else:
        env["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    if cell.run.checkpoint.is_file():
        words = [f"resume={cell.run.path}"]
    else:
        source = out / "configs" / f"{cell.row}-seed{cell.seed}.yaml"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(yaml.safe_dump(cell.config.model_dump(mode="json")), encoding="utf-8")
        if cell.run.path.is_dir():
            try:
                with locked(cell.run.path):
                    # stopped before its first checkpoint: start again
                    for file in (cell.run.config, cell.run.history, cell.run.generator):
                        file.unlink(missing_ok=True)
            except ConfigError as error:
                return f"{cell.row} seed {cell.seed}: {error}"
        words = [str(source)]
    code, text = processes.run(["train", *words], slot, env)
    return f"{cell.row} seed {cell.seed}: {_error_line(text, code)}" if code else None


def _error_line(text: str, code: int) -> str:
    """What a command said last, or the error that it named before extensions wrote at its end."""
    lines = text.strip().splitlines() or [f"exit code {code}"]
    return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
