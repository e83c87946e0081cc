"""The commands as a user types them: what they print, and how they fail."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_as_gnn.cli import commands
from cl_as_gnn.config import DataConfig
from cl_as_gnn.datasets import load_images
from cl_as_gnn.runs.lock import locked

TINY = ["encoder.width=8", "trainer.epochs=1", "eval.draws=2", "eval.online_size=300", "eval.baselines=false"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One finished run."""
    from cl_as_gnn.config import load_config
    from cl_as_gnn.training.fit import train

    path = tmp_path_factory.mktemp("runs") / "run"
    train(load_config(None, [*TINY, f"run_dir={path}"]))
    return path


def test_train_prints_a_short_table(clgnn, tmp_path):
    code, out, err = clgnn("train", *TINY, "eval.baselines=true", "run_dir=run")
    assert code == 0, err
    for word in ("kNN", "linear", "1 label", "10 labels", "gcn", "untrained encoder", "raw pixels"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 80
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_version(clgnn):
    code, out, _ = clgnn("--version")
    assert code == 0
    assert out.startswith(f"cl-as-gnn {version('cl-as-gnn')}, torch ")


def test_train_names_its_folder_only_once_the_data_is_there(clgnn, tmp_path):
    code, out, err = clgnn("train", "data.name=folder", "data.root=gone")
    assert code == 2
    assert "gone" in err
    assert "run folder" not in out
    assert not (tmp_path / "runs").exists()


def test_train_reads_a_file_and_overrides(clgnn, tmp_path):
    (tmp_path / "c.yaml").write_text("method: {name: simclr}\ntrainer: {epochs: 7}\n")
    code, out, _ = clgnn("train", "c.yaml", *TINY)
    assert code == 0
    assert "simclr on digits" in out
    folder = next((tmp_path / "runs").iterdir())
    assert "epochs: 1" in (folder / "config.yaml").read_text()


def test_evaluate_repeats_the_numbers_of_the_run(clgnn, finished):
    code, out, err = clgnn("evaluate", finished)
    assert code == 0, err
    metrics = json.loads((finished / "metrics.json").read_text())
    for key in ("knn_top1", "linear_top1", "label1_top1", "label10_top1"):
        assert f"{metrics[key]:.1f}" in out


def test_embed_writes_features_and_labels(clgnn, finished, tmp_path):
    code, out, err = clgnn("embed", finished, "--out", "f.npz")
    assert code == 0, err
    with np.load(tmp_path / "f.npz") as arrays:
        assert arrays["train"].shape == (1347, 64)
        assert arrays["test_labels"].shape == (450,)
    assert "1347" in out
    assert clgnn("embed", finished, "--out", "f.csv")[0] == 2


def test_embed_reads_other_images_as_those_of_the_run(clgnn, finished, tmp_path):
    """The run's own test images, from files: the same features."""
    test = load_images(DataConfig(), progress=False).test.images[:3, 0]
    for i, name in enumerate(("a/2.png", "a/b/1.png", "0.png")):
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test[i].numpy()).save(tmp_path / "new" / name)
    Image.fromarray(test[0].repeat_interleave(3, 0).repeat_interleave(3, 1).numpy()).convert("RGB").save(
        tmp_path / "new" / "large.png"
    )
    (tmp_path / "new" / ".hidden.png").write_bytes(b"")
    (tmp_path / "new" / "notes.txt").write_text("no image")
    assert clgnn("embed", finished, "--out", "f.npz")[0] == 0
    code, out, err = clgnn("embed", finished, "--out", "g.npz", "--images", "new")
    assert code == 0, err
    assert "features (4, 64)" in out
    with np.load(tmp_path / "f.npz") as known, np.load(tmp_path / "g.npz") as new:
        assert new["files"].tolist() == ["0.png", "a/2.png", "a/b/1.png", "large.png"]
        np.testing.assert_allclose(new["features"][:3], known["test"][[2, 0, 1]], rtol=1e-4, atol=1e-5)
        assert np.isfinite(new["features"]).all()
    (tmp_path / "new" / "broken.jpg").write_bytes(b"no image")
    code, out, err = clgnn("embed", finished, "--out", "g.npz", "--images", "new")
    assert (code, err) == (0, "")
    assert "left out broken.jpg: " in out
    assert "features (4, 64)" in out
    (tmp_path / "none").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "broken.jpg").write_bytes(b"no image")
    for folder, line in (
        ("bad", "none of the 1 images can be decoded"),
        ("none", "holds no images"),
        ("gone", "does not exist"),
        ("f.npz", "is a file"),
    ):
        code, _, err = clgnn("embed", finished, "--out", "h.npz", "--images", folder)
        assert code != 0
        assert line in err
        assert not (tmp_path / "h.npz").exists()
    (tmp_path / "none.npz").mkdir()
    code, _, err = clgnn("embed", finished, "--out", "none.npz")
    assert code == 2
    assert "is a folder: name a file in it" in err


def test_the_example_of_a_trained_encoder_runs(finished, tmp_path, monkeypatch):
    """As it stands, in a process that has imported nothing of the package before."""
    page = (Path(__file__).parents[1] / "docs" / "encoder.md").read_text()
    [block] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(finished)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.new("RGB", (12, 9), (80 * i, 20, 10)).save(tmp_path / "photos" / f"{i}.png")
    block += "\nprint(*features.shape, image.tolist(), *logits.shape)"
    out = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert out.stdout.split("\n")[0] == "3 64 [0, 1, 2] 3 10", out.stderr


def test_runs_lists_finished_and_stopped_ones(clgnn, finished, tmp_path):
    for name in ("stopped", "empty", "damaged"):
        (tmp_path / "runs" / name / "checkpoints").mkdir(parents=True)
        shutil.copy(finished / "config.yaml", tmp_path / "runs" / name)
    (tmp_path / "runs" / "stopped" / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "runs" / "damaged" / "config.yaml").write_text("seed: 0\n")
    shutil.copytree(finished, tmp_path / "runs" / "done")
    code, out, err = clgnn("runs", "--json")
    assert code == 0, err
    states = {Path(run["run"]).name: run["state"] for run in json.loads(out)}
    assert states == {"done": "finished", "stopped": "stopped", "empty": "empty", "damaged": "damaged"}
    metrics = json.loads((finished / "metrics.json").read_text())
    [line] = [line for line in clgnn("runs")[1].splitlines() if line.startswith("runs/done")]
    assert line.split("\t")[:5] == ["runs/done", "gcn", "digits", "1/1", "finished"]
    assert f"{metrics['knn_top1']:.1f}" in line
    with locked(tmp_path / "runs" / "stopped"):
        assert "training" in clgnn("runs")[1]
    assert clgnn("runs", "none")[0] == 2


def test_json_alone_is_on_standard_output(clgnn, finished):
    code, out, err = clgnn("train", f"resume={finished}", "--json")
    assert code == 0
    assert json.loads(out)["knn_top1"] == json.loads((finished / "metrics.json").read_text())["knn_top1"]
    assert "has finished" in err


def test_help_groups_the_commands_and_has_examples(clgnn):
    out = clgnn("--help")[1]
    for group in commands.GROUPS:
        assert f"─ {group} ─" in out
    out = clgnn("train", "--help")[1]
    assert "clgnn train resume=runs/photos trainer.epochs=200" in out


def test_inspect_draws_a_picture(clgnn, finished, tmp_path):
    code, out, err = clgnn("inspect", "--run", finished, "--samples", 6, "--out", "g.png")
    assert code == 0, err
    assert "augmentation (view → view): 12 edges, mutual" in out
    image = np.asarray(Image.open(tmp_path / "g.png").convert("RGB"))
    blue = (abs(image.astype(int) - [0x00, 0x72, 0xB2]) < 12).all(-1).sum()
    assert blue > 500, "augmentation edges are drawn"
    code, _, err = clgnn("inspect", "method.k=2", "--run", finished)
    assert (code, err) == (2, f"error: --run {finished} fixes all settings: drop method.k=2, or drop --run\n")


def test_no_place_for_temporary_files_is_one_line(clgnn, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/missing"])
    monkeypatch.setattr(commands, "app", lambda *words, **options: tempfile.gettempdir())
    line = "error: No usable temporary directory found in ['/missing']: free some space in one of them, or set TMPDIR"
    assert clgnn("train") == (1, "", f"{line} to another folder\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train", "method.temprature=1"], 2, "did you mean method.temperature?"),
        (["train", "none.yaml"], 2, "no config file none.yaml"),
        (["train", "method.name=nope"], 2, "unknown method 'nope'"),
        (["train", "data.name=folder"], 2, "data.root"),
        (["train", "data.name=folder", "data.root=missing"], 2, "missing"),
        (["train", "optim.name=adamW"], 2, "did you mean 'adamw'?"),
        (["train", "method.name=SimCLR"], 2, "did you mean 'simclr'?"),
        (
            ["train", "method=simclr", "method.temperature=0.1"],
            2,
            "method=simclr: a section expects settings, write method.name=simclr",
        ),
        (["train", "resume=missing"], 2, "no run folder missing"),
        (["train", "trainer.precision=fp16"], 2, "trainer.precision=fp16"),
        (["evaluate", "missing"], 2, "no run folder missing"),
        (["embed", "missing", "--out", "f.npz"], 2, "no run folder missing"),
        (["inspect", "--out", "g.bmp"], 2, "g.png"),
        (["trian"], 2, "No such command 'trian'"),
        (["evaluate", "--fast"], 2, "No such option"),
        (["embed", "missing"], 2, "Missing option '--out'"),
    ],
)
def test_a_mistake_is_one_line(clgnn, words, code, message):
    found, _, err = clgnn(*words)
    assert found == code
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


def test_a_handful_of_images_is_enough(clgnn, tmp_path):
    """Fewer images than neighbours or labels asked for: what cannot be scored is left out."""
    for name, colour in (("a", 40), ("b", 200)):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (16, 16), (colour + i, 60, 10 * i)).save(folder / f"{i}.png")
    code, out, err = clgnn("train", "data.name=folder", "data.root=data", "data.validation=0", *TINY, "run_dir=few")
    assert code == 0, err
    assert "10 labels" not in out, "nor their column: ten labels a class are not there"
    assert "1 label" in out
    code, _, err = clgnn("train", "resume=few")
    assert code == 0, err


def test_a_corrupt_image_fails_the_run_with_its_name(clgnn, tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / f"{i}.png")
    (tmp_path / "data" / "train" / "a" / "2.png").write_bytes(b"not an image")
    code, _, err = clgnn("train", "data.name=folder", f"data.root={tmp_path}/data")
    assert code == 1
    assert "2.png" in err
    assert len(err.strip().splitlines()) == 1


def test_the_first_line_of_a_run_does_not_wait_for_torch():
    """Nor does a typo wait: the line comes, and then what needs torch is imported."""
    code = "import sys; sys.argv = ['clgnn', 'train', 'trainer.epochs=7']\nimport cl_as_gnn.cli as c\n"
    code += "from cl_as_gnn.cli import run\n\ndef stop(): raise SystemExit(f\"torch {'torch' in sys.modules}\")\n"
    code += "run.loading = stop\nc.main()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout == "gcn on digits: encoder small, 7 epochs, seed 0\n"
    assert found.stderr == "torch False\n"


def test_help_is_quick_and_reads_well():
    """No torch behind --help."""
    code = "import sys; sys.argv = ['clgnn', 'train', '--help']\ntry:\n    import cl_as_gnn.cli as c; c.main()\n"
    code += "except SystemExit: pass\nassert 'torch' not in sys.modules, 'torch was imported'"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "resume=RUN" in found.stdout
