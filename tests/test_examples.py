"""Every example runs as a user would run it, in a small setting, and is short enough to read."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch_geometric.data import Data

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs an example with command-line arguments and returns what it printed."""

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_is_short_and_says_what_it_shows(path):
    lines = path.read_text().splitlines()
    assert len(lines) < 60
    assert lines[0].startswith('"""')


def test_oversmoothing(run):
    out = run("oversmoothing.py", "--depth", 6, "--epochs", 60)
    rows = re.findall(r"6 layers, (\w+).*: accuracy ([\d.]+) %, mean cosine ([\d.]+)", out)
    assert [row[0] for row in rows] == ["None", "ContraNorm", "ContraNorm", "LayerNorm", "MeanSubtractionNorm"]
    alike = [float(row[2]) for row in rows]
    assert max(alike[1:3]) < alike[0]


def test_own_data(run, tmp_path):
    out = run("own_data.py", "--epochs", 40)
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", out)]
    assert losses[-1] < losses[0]
    assert float(re.search(r"other nodes: ([\d.]+) %", out)[1]) > 40  # four groups
    torch.manual_seed(0)
    y = torch.arange(2).repeat_interleave(10)
    mine = Data(x=torch.randn(20, 5), edge_index=torch.randint(20, (2, 60)), y=y, train_mask=torch.arange(20) % 2 == 0)
    torch.save(mine.to_dict(), tmp_path / "mine.pt")
    assert "on the 10 other nodes" in run("own_data.py", tmp_path / "mine.pt", "--epochs", 2)


def test_hetero(run):
    before, after = (float(re.search(r"club: ([\d.]+) %", run("hetero.py", "--steps", steps))[1]) for steps in (0, 20))
    assert after > before


def test_image_folder(run, tmp_path):
    """Two classes that differ in colour: enough for features of seconds of training."""
    rng = np.random.default_rng(0)
    for name, colour in (("red", (200, 60, 60)), ("blue", (60, 60, 200))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(24):
            pixels = np.clip(rng.normal(colour, 40, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    small = ["data.image_size=16", "trainer.epochs=2", "trainer.batch_size=16", "encoder.width=8", "eval.draws=1"]
    out = run("image_folder.py", tmp_path / "photos", "--run-dir", tmp_path / "run", *small)
    scores = re.search(r"kNN ([\d.]+) %, linear probe ([\d.]+) %", out)
    assert float(scores[2]) > 60
    assert len(re.findall(r"test images \d+ and \d+ look alike: cosine [\d.]+", out)) == 3


def test_grace(run):
    out = run("grace_cora.py", "--epochs", 100)
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", out)]
    assert losses[-1] < losses[0] - 0.5
    assert float(re.search(r"other nodes: ([\d.]+) %", out)[1]) > 55  # four groups, one label each


def test_plain_loop(run):
    """The network is the caller's own; the score is ahead of the raw pixels' only after more epochs than these."""
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", run("plain_loop.py", "--epochs", 3))]
    assert losses[-1] < losses[0]


def test_lightning_module(run):
    first, last = (float(run("lightning_module.py", "--epochs", n).split()[1]) for n in (1, 3))
    assert last < first


NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_cells_of_a_notebook_run(path, monkeypatch, tmp_path):
    """In one namespace, as a notebook does it, without a kernel. They are stored without outputs."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs")
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), names)
    assert len(names["run"].history) in (3, 12)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_in_a_kernel(path, tmp_path):
    """And shows progress: lines, or a bar where ipywidgets are installed."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [str(output) for cell in book.cells[2:] for output in cell.get("outputs", ())]
    assert any("epoch" in text or "Output()" in text for text in shown)
    assert not any("Warning" in text for text in shown), "\n".join(text for text in shown if "Warning" in text)
