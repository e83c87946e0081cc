"""Train the runs of a suite, each in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from cl_as_gnn.compare.progress import SuiteProgress
from cl_as_gnn.compare.results import available_cores, curves, has_purity, markdown, picture, summarize
from cl_as_gnn.compare.suite import Cell, Suite
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.lock import locked
from cl_as_gnn.runs.stop import PARENT, interruptible

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
        closing(_Processes()) as processes,
        interruptible(lambda what: f"{what}: {cure}", processes.end),
    ):
        return _run_suite(suite, cells, out, jobs, console, processes)


def _run_suite(
    suite: Suite, cells: Sequence[Cell], out: Path, jobs: int, console: Console, processes: _Processes
) -> dict[str, Any]:
    waiting = [cell for cell in cells if cell.metrics is None]
    with SuiteProgress(suite.name, cells, waiting, console) as progress, ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(_train, cell, i % jobs, jobs, out, processes): cell for i, cell in enumerate(waiting)}
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


class _Processes:
    """The processes of the runs. They end with this one, however it ends: its end is that of their standard input."""

    def __init__(self) -> None:
        self._open: set[subprocess.Popen[str]] = set()
        self._lock, self._ended = threading.Lock(), False
        self._reader, self._writer = os.pipe()

    def close(self) -> None:
        os.close(self._writer)
        os.close(self._reader)

    def run(self, command: Sequence[str], env: dict[str, str]) -> tuple[int, str]:
        """Return the exit code of a command and what it wrote to standard error."""
        with self._lock:
            if self._ended:
                return 0, ""
            process = subprocess.Popen(
                command,
                env=env | {PARENT: "1"},
                stdin=self._reader,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            self._open.add(process)
        _, error = process.communicate()
        self._open.discard(process)
        return process.returncode, error

    def end(self) -> None:
        """Send SIGTERM to all of them, and start no more."""
        with self._lock:
            self._ended = True
        for process in list(self._open):
            process.terminate()


def _train(cell: Cell, slot: int, jobs: int, out: Path, processes: _Processes) -> str | None:
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
    code, text = processes.run([sys.executable, "-m", "cl_as_gnn.cli", "train", *words], env)
    lines = text.strip().splitlines()
    return f"{cell.row} seed {cell.seed}: {lines[-1] if lines else f'exit code {code}'}" if code else None
