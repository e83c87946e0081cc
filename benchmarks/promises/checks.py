"""Promises that are held by tests of the repository, with how many cases of them passed; and suites in miniature."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.promises.kills import write_images
from cl_as_gnn.config import read_yaml

ROOT = Path(__file__).parents[2]
SUITES = ROOT / "benchmarks" / "suites"
_MINIATURE = (
    *("seeds=[0]", "budget=null", "trainer.epochs=1", "trainer.batch_size=32", "trainer.accelerator=cpu"),
    *("encoder.projector_hidden=8", "encoder.projector_dim=4", "eval.baselines=false", "eval.draws=1"),
)
# Of their own these expect photographs, view generators or the classes of CIFAR-10.
_OWN_FILES = ("factors", "view_generator", "arcl_cifar10")


@dataclass(frozen=True)
class Check:
    """A promise, how it is tested in a few words, and the files of its tests."""

    promise: str
    how: str
    files: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


CHECKS = {
    "ranks": Check(
        "Two processes compute what one computes, for every method; if one dies, all end within seconds",
        "gradients, memories and statistics of both ranks against one process; real runs whose rank is killed",
        ("tests/methods/test_ranks.py", "tests/training/test_ranks.py"),
    ),
    "damage": Check(
        "A damaged, truncated or swapped file of a run costs one line, never the scores",
        "every file × every damage × every command",
        ("tests/runs/test_damage.py", "tests/runs/test_load.py"),
    ),
    "folder": Check(
        "Two processes never write in one folder; a full or unwritable disk and a failed rename lose nothing",
        "locks, size limits and failing writes of real runs",
        ("tests/runs/test_lock.py", "tests/runs/test_disk.py", "tests/runs/test_folder.py"),
    ),
    "stop": Check(
        "Ctrl-C and SIGTERM end every command in one line that says how to go on",
        "signals to real commands",
        ("tests/runs/test_stop.py",),
    ),
    "untrusted": Check(
        "No file runs code, and no name does in a page",
        "a payload at each place that loads; names of images and classes with markup; a scan of the source",
        ("tests/test_untrusted_files.py", "tests/labeling/test_sheet.py", "tests/report/test_page.py"),
    ),
    "older": Check(
        "Runs of earlier versions load, old names warn for one release",
        "a stored run of 0.1 is scored, reported and continued",
        ("tests/runs/test_older.py", "tests/config/test_older.py"),
    ),
    "numbers": Check(
        "A loss that is not finite stops the run, collapse is told once",
        "runs that diverge or collapse, and ordinary ones",
        ("tests/training/test_health.py", "tests/training/test_fit.py"),
    ),
    "law": Check(
        "The message of a method is minus the gradient of its loss, to 1e-10 in float64",
        "every term and method against its formula",
        ("tests/nn/terms", "tests/methods/test_softmax.py", "tests/methods/test_channels.py"),
    ),
    "precision": Check(
        "float32, bfloat16 and float16, τ from 0.01, up to 65,536 rows: finite and within stated error",
        "losses and their gradients against float64",
        ("tests/nn/functional", "tests/nn/streaming"),
    ),
    "fuzz": Check(
        "No accepted call of a layer, a loss, a graph function or a transform is silently wrong",
        "random hostile inputs against the formula in float64",
        ("tests/nn/test_fuzz.py", "tests/graph/test_fuzz.py"),
    ),
    "misuse": Check(
        "A misuse of the library is one line that names the argument",
        "misuses by hand, and of every argument",
        ("tests/nn/test_misuse.py", "tests/nn/test_checks.py"),
    ),
    "docs": Check(
        "The examples of the docs run",
        "every block and command of the pages and of --help, every example, the tutorials",
        ("tests/test_docs.py", "tests/test_examples.py", "tests/test_tutorials.py", "tests/cli"),
    ),
}


def run_tests(name: str, examples: int, place: Path) -> dict[str, Any]:
    """Run the tests of a promise, slow ones too.

    Returns:
        the cases that passed, failed and were skipped; of the fuzz the calls by how they ended. An error of pytest
        itself counts as a failed case.
    """
    check, report = CHECKS[name], place / f"{name}.xml"
    files = [file for file in check.files if (ROOT / file).exists()]
    words = ["-m", "pytest", "-q", "-s", "-m", "", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
    env = os.environ | ({"CLGNN_FUZZ": str(examples)} if name == "fuzz" else {})
    report.unlink(missing_ok=True)
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    (place / f"{name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode not in (0, 1) or not report.exists():
        return {"passed": 0, "failed": 1, "skipped": 0}
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    total, failed, skipped = (sum(int(suite.get(key, 0)) for key in keys) for keys in _COUNTS)
    found: dict[str, Any] = {"passed": total - failed - skipped, "failed": failed, "skipped": skipped}
    if name == "fuzz":
        calls = re.findall(r"\{'\w+': \d+[^}]*\}", done.stdout)
        found["calls"] = dict(sum((Counter(ast.literal_eval(counts)) for counts in calls), Counter()))
    return found


_COUNTS = (("tests",), ("failures", "errors"), ("skipped",))


def suites() -> list[str]:
    """The suites that run on the digits, or on any folder of images."""
    return [path.stem for path in sorted(SUITES.glob("*.yaml")) if path.stem not in _OWN_FILES]


def miniature(suite: str, place: Path) -> dict[str, Any]:
    """Train every run of a suite with one seed for one epoch, on images of a few pixels, by ``clgnn compare``.

    In the folder ``place``: a run that reads another one names it from there, in ``runs/SUITE``.
    """
    write_images(place / "data")
    out = place / "runs" / suite
    words = [sys.executable, "-m", "cl_as_gnn.cli", "compare", *small(suite, place / "data")]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, check=False)
    (place / f"{suite}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    runs = len(list(out.glob("runs/*/seed0/metrics.json")))
    return {"held": done.returncode == 0 and (out / "results.md").exists(), "runs": runs}


def small(suite: str, images: Path) -> list[str]:
    """The file of a suite and the settings that make it small; the digits stay as they are."""
    path = SUITES / f"{suite}.yaml"
    digits = read_yaml(path)["base"]["data"]["name"] == "digits"
    return [str(path), *_MINIATURE, *(() if digits else ("data.name=folder", f"data.root={images}"))]
