"""A run that is killed at a random moment, and continued, against the same run that nothing has stopped.

Runs are ``clgnn train`` on images of a few pixels, in processes forked from one that has imported torch: kills then hit
a run, not its imports. They have one thread, because another number of threads changes the order of sums.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils._pytree import tree_leaves

from cl_as_gnn import cli
from cl_as_gnn.methods import METHODS
from cl_as_gnn.runs.folder import RunFolder

_ROOT = Path(__file__).parents[2]
_SMALL = (
    *("trainer.epochs=4", "trainer.batch_size=16", "trainer.checkpoint_every=1", "trainer.accelerator=cpu"),
    *("encoder.projector_hidden=8", "encoder.projector_dim=4", "encoder.width=8", "eval.draws=3", "eval.graph_every=1"),
)
_WAIT = 300.0  # seconds for a run of a few


def methods() -> list[str]:
    """Every method of this package."""
    return [name for name, method in METHODS.items() if method.__module__.startswith("cl_as_gnn.")]


def write_images(folder: Path) -> None:
    """Write three classes of 24 colored images of 8 × 8 pixels."""
    draw = np.random.default_rng(0)
    for color, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(24):
            pixels = draw.integers(0, 160, (8, 8, 3), dtype=np.uint8)
            pixels[..., color] += 90
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")


def settings(method: str) -> list[str]:
    """The settings of the runs of a method; their data lie in ``data/`` of the working folder."""
    kind = METHODS[method]
    if "images" not in kind.reads:
        return [f"method.name={method}", *_SMALL, "data.name=karate"]
    own = ["encoder.name=vit"] if kind.needs_patches else ["encoder.split=1"] if kind.needs_split else []
    return [f"method.name={method}", *_SMALL, *own, "data.root=data", "data.validation=0.2"]


def _command(words: Sequence[str], place: Path, log: Path) -> None:
    os.chdir(place)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    torch.set_num_threads(1)
    sys.argv = ["clgnn", *words]
    cli.main()


def start(words: Sequence[str], place: Path, log: str) -> BaseProcess:
    """Start ``clgnn WORDS`` in the folder ``place``, whose file ``log`` gets what it prints."""
    if str(_ROOT) not in sys.path:
        sys.path.append(str(_ROOT))  # where the process finds this module
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cl_as_gnn.training.fit"])
    process = context.Process(target=_command, args=(list(words), place, place / log))
    process.start()
    return process


def finish(words: Sequence[str], place: Path, log: str) -> None:
    """Run ``clgnn WORDS`` to its end; RuntimeError with its last line if it fails."""
    process = start(words, place, log)
    process.join(_WAIT)
    if process.exitcode != 0:
        process.kill()
        lines = (place / log).read_text(encoding="utf-8").strip().splitlines() or ["no output"]
        raise RuntimeError(f"clgnn {' '.join(words)} ended with {process.exitcode}: {lines[-1]}")


def reference(method: str, place: Path) -> float:
    """Train the run that nothing stops, in ``place/METHOD``, unless it is there; seconds from its folder to its end."""
    run, clock = RunFolder(place / method), place / f"{method}.seconds"
    if not clock.exists():
        shutil.rmtree(run.path, ignore_errors=True)
        process = start(["train", *settings(method), f"run_dir={method}"], place, f"{method}.log")
        begun = _wait_for(run.config, process)
        process.join(_WAIT)
        if process.exitcode != 0:
            lines = (place / f"{method}.log").read_text(encoding="utf-8").strip().splitlines() or ["no output"]
            raise RuntimeError(f"a run of {method} ended with {process.exitcode}: {lines[-1]}")
        clock.write_text(f"{time.monotonic() - begun}\n", encoding="utf-8")
    return float(clock.read_text(encoding="utf-8"))


def _wait_for(file: Path, process: BaseProcess) -> float:
    """The time when a file was there, or the process had ended."""
    while not file.exists() and process.is_alive():
        time.sleep(0.002)
    return time.monotonic()


def killed(method: str, index: int, place: Path) -> dict[str, Any]:
    """Kill a run at a random moment, continue it, and compare it with the whole run.

    Args:
        method: of the run.
        index: seed of the moment and of the signal, SIGKILL or (one in four) SIGTERM.
        place: a folder with the images in ``data/``, where all runs of the methods are kept.

    Returns:
        the signal, where it hit, and whether all numbers and bytes are those of the whole run; if not, what differs.
    """
    draw, seconds = random.Random(index), reference(method, place)
    number = signal.SIGTERM if draw.random() < 0.25 else signal.SIGKILL
    run, code = RunFolder(place / f"{method}-{index}"), 0
    words = ["train", *settings(method), f"run_dir={run.path.name}"]
    while code == 0:  # the run was faster than the kill
        shutil.rmtree(run.path, ignore_errors=True)
        process = start(words, place, "killed.log")
        _wait_for(run.config, process)
        process.join(draw.random() * seconds)
        assert process.pid is not None
        if process.is_alive():
            os.kill(process.pid, number)
        process.join(_WAIT)
        code = process.exitcode or 0
    found: dict[str, Any] = {"signal": number.name, "where": _where(run)}
    if code != (128 + number if number == signal.SIGTERM else -number):
        found["where"] = "failed"
    try:
        if found["where"] == "before the first checkpoint":
            shutil.rmtree(run.path)
            finish(words, place, "continued.log")
        else:
            finish(["train", f"resume={run.path.name}"], place, "continued.log")
        differs = difference(RunFolder(place / method), run)
    except RuntimeError as error:
        differs = str(error)
    found |= {"held": found["where"] != "failed" and not differs} | ({"differs": differs} if differs else {})
    if found["held"]:
        shutil.rmtree(run.path)
    return found


def _where(run: RunFolder) -> str:
    if not run.checkpoint.exists():
        return "before the first checkpoint"
    if not run.encoder.exists():
        return "in training"
    return "in evaluation"


def difference(one: RunFolder, two: RunFolder) -> str:
    """What two runs do not share of their encoder, weights and memories, rows of each epoch, and scores; "" if nothing.

    Times are not compared.
    """
    if one.encoder.read_bytes() != two.encoder.read_bytes():
        return one.encoder.name
    states = [torch.load(run.checkpoint, map_location="cpu", weights_only=True)["state_dict"] for run in (one, two)]
    leaves = [tree_leaves(dict(sorted(state.items()))) for state in states]
    if states[0].keys() != states[1].keys() or not all(map(_equal, *leaves)):
        return one.checkpoint.name
    rows = [[{**row, "seconds": ""} for row in run.read_history()] for run in (one, two)]
    if rows[0] != rows[1]:
        return one.history.name
    scores = [json.loads(run.metrics.read_text(encoding="utf-8")) for run in (one, two)]
    for score in scores:
        for key in ("seconds", "images_per_second"):
            score.pop(key)
    return ", ".join(key for key in scores[0] if scores[0][key] != scores[1].get(key))


def _equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)
