"""Every command and every line of Python of the tutorials runs, in order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"


def photographs(folder, count=24):
    """Images of two sizes, one of them in a subfolder."""
    rng = np.random.default_rng(0)
    (folder / "more").mkdir(parents=True)
    for i in range(count):
        side = (20, 26) if i % 2 else (24, 18)
        pixels = rng.integers(0, 200, 3) + rng.integers(0, 50, (*side, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / ("more" if i % 3 else ".") / f"{i:02d}.png")


@pytest.mark.parametrize(
    "name",
    ["photographs", "labels", "model", pytest.param("devices", marks=pytest.mark.slow)],  # test_ranks.py is faster
)
def test_a_tutorial_runs_from_top_to_bottom(name, clgnn, tmp_path, capsys):
    photographs(tmp_path / "PHOTOS")
    names = {"__name__": "tutorial"}
    blocks = re.findall(r"```(bash|python)\n(.*?)```", (DOCS / f"tutorial_{name}.md").read_text(), re.DOTALL)
    assert blocks
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, name, "exec"), names)
            continue
        for line in text.strip().splitlines():
            program, *words = shlex.split(line)
            assert program == "clgnn"
            if name == "devices":  # ranks are started as the command that runs
                done = subprocess.run([sys.executable, "-m", "cl_as_gnn.cli", *words], capture_output=True, text=True)
                code, error = done.returncode, done.stderr
            else:
                code, _, error = clgnn(*words)
            assert code == 0, f"{line}: {error}"


def test_the_lines_of_the_start_run_on_its_run(clgnn, small, tmp_path):
    assert clgnn("train", *small, "run_dir=first")[0] == 0
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "start.md").read_text(), re.DOTALL)
    exec(compile(block, "docs/start.md", "exec"), {})
    for line in ("clgnn report first", "clgnn inspect --run first --out graph.png"):
        assert line in (DOCS / "start.md").read_text()
        assert clgnn(*line.split()[1:])[0] == 0
