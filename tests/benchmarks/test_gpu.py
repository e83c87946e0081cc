"""The one call for a GPU: its cheapest part as a whole, going on after failures, and what it would run."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.common import store
from cl_as_gnn.compare import load_suite

gpu = import_module("benchmarks.gpu")
SCRIPT = Path(gpu.__file__).with_suffix(".sh")


@pytest.mark.slow
def test_the_cheapest_part_runs_on_a_cpu(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = ["bash", str(SCRIPT), str(tmp_path), "--smoke", "--only", "gpu"]
    done = subprocess.run(words, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = store.read(tmp_path / "results.json")["runs"]
    assert (found["part"], found["code"]) == ("gpu", 0)
    assert "passed" in (tmp_path / "gpu.log").read_text() or "100%" in (tmp_path / "gpu.log").read_text()
    assert "| gpu | tests of the GPU |" in (tmp_path / "results.md").read_text()


def test_it_goes_on_after_a_failure_and_leaves_out_what_is_done(tmp_path, monkeypatch):
    seen = []

    def command(job, options):
        seen.append((job["part"], job["name"]))
        return ["platform"] if job["part"] != "tiles" or len(seen) > 3 else ["no_such_module"]

    monkeypatch.setattr(gpu, "command", command)
    words = [str(tmp_path), "--smoke", "--only", "gpu,tiles,best"]
    with pytest.raises(SystemExit, match="failed: tiles: all_pairs"):
        gpu.main(words)
    assert [job[0] for job in seen] == ["gpu", "tiles", "best"]
    assert "**failed** (tiles.log)" in (tmp_path / "results.md").read_text()
    gpu.main(words)
    assert [job[0] for job in seen[3:]] == ["tiles"]
    gpu.main(words)
    assert len(seen) == 4
    assert [done["code"] for done in store.read(tmp_path / "results.json")["runs"]] == [0, 0, 0]


def options(tmp_path, monkeypatch, *words):
    """What the words mean where there is a GPU, and the jobs."""
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu.torch.cuda, "get_device_name", lambda: "a card")
    taken = []
    monkeypatch.setattr(gpu, "jobs", lambda options: taken.append(options) or [])
    gpu.main([str(tmp_path), *words])
    monkeypatch.undo()
    return taken[0]


def test_what_it_would_run_with_images_and_graphs(tmp_path, monkeypatch):
    chosen = options(tmp_path, monkeypatch, "--images", "cifar", "--planetoid", "graphs")
    jobs = list(gpu.jobs(chosen))
    assert list(dict.fromkeys(job["part"] for job in jobs)) == list(gpu.PARTS)
    assert [job["name"] for job in jobs if job["part"] == "paper"] == ["seed 0", "seed 1", "seed 2"]
    words = [gpu.command(job, chosen) for job in jobs if job["part"] == "paper"]
    assert words[1][3] == "seeds=[0, 1]"
    suite, cells = load_suite(Path(words[2][2]), words[2][3:5], tmp_path)
    assert len(cells) == 15
    assert suite.baseline == "simclr"
    bare = options(tmp_path / "bare", monkeypatch)
    assert {job["part"] for job in gpu.jobs(bare)} == {"gpu", "speed", "tiles", "tests"}
    with pytest.raises(SystemExit):
        gpu.main([str(tmp_path), "--smoke", "--only", "gpus"])


def test_the_best_row_gets_the_time_of_fastsiam(tmp_path, monkeypatch):
    chosen = options(tmp_path, monkeypatch, "--images", "cifar")
    job = {"part": "best", "name": ""}
    assert gpu.command(job, chosen) == []
    _, cells = load_suite(gpu.ROOT / "benchmarks" / "suites" / "paper_smoke.yaml", [], chosen.out / "paper")
    folders = {cell.row: cell.config.run_dir for cell in cells}
    rows = {
        name: {"knn_top1": {"mean": score}, "seconds": 4674.0, "epochs": 200}
        for name, score in zip(("byol", "simsiam"), (80, 90), strict=True)
    }
    store.write(tmp_path / "paper" / "results.json", {"rows": rows})
    words = gpu.command(job, chosen)
    assert words[2:4] == [str(folders["simsiam"] / "config.yaml"), "trainer.epochs=400"]
    rows["simsiam"]["seconds"] = 9300.0
    store.write(tmp_path / "paper" / "results.json", {"rows": rows})
    assert gpu.command(job, chosen) == []
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "config.yaml").touch()
    assert gpu.command(job, chosen)[2] == f"resume={tmp_path / 'best'}"
