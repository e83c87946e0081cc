"""Every file of a finished run, damaged in many ways: a command says so in one line, or does not need the file."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.config import load_config
from cl_as_gnn.training.fit import train

CONFIG, METRICS, HISTORY = "config.yaml", "metrics.json", "metrics.csv"
ENCODER, CHECKPOINT = "encoder.safetensors", "checkpoints/last.ckpt"
COMMANDS = {
    "evaluate": ("evaluate", "run"),
    "embed": ("embed", "run", "--out", "f.npz"),
    "report": ("report", "run"),
    "inspect": ("inspect", "--run", "run", "--samples", 2),
    "resume": ("train", "resume=run"),
    "extend": ("train", "resume=run", "trainer.epochs=2"),
}
# What a command cannot do without. The other files it may read or not: a report, for example, has fewer pictures.
NEEDED = {
    CONFIG: ("evaluate", "embed", "report", "inspect", "resume", "extend"),
    METRICS: ("report", "resume"),
    HISTORY: (),
    ENCODER: ("evaluate", "embed"),
    CHECKPOINT: ("inspect", "extend"),
}
MAY_READ = {HISTORY: ("report", "extend"), ENCODER: ("report",), CHECKPOINT: ("report", "resume"), METRICS: ("extend",)}


def text(content):
    return lambda path, other: path.write_bytes(content)


def half(path, other):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder(path, other):
    path.unlink()
    path.mkdir()


def dangling(path, other):
    path.unlink()
    path.symlink_to("gone")


def unreadable(path, other):
    path.chmod(0)


def of_another_run(path, other):
    shutil.copy(next(other.rglob(path.name)), path)


def changed(path, change):
    """Change what a JSON file or a checkpoint holds."""
    if path.suffix == ".json":
        tree = json.loads(path.read_text())
        change(tree)
        path.write_text(json.dumps(tree))
    else:
        tree = torch.load(path, weights_only=True)
        change(tree)
        torch.save(tree, path)


DAMAGES = {
    "empty": text(b""),
    "half": half,
    "object": text(b"{}"),
    "list": text(b"[1, 2]"),
    "null": text(b"null"),
    "number": text(b"7"),
    "binary": text(bytes(range(256)) * 9),
    "folder": folder,
    "dangling": dangling,
    "unreadable": unreadable,
    "another run": of_another_run,
}
DETAILS = [
    (METRICS, "report", lambda tree: tree.update(seconds="long")),
    (METRICS, "report", lambda tree: tree.update(versions=None)),
    (METRICS, "report", lambda tree: tree.update(knn_top1=[1])),
    (METRICS, "report", lambda tree: tree.update(baselines=[])),
    (METRICS, "resume", lambda tree: tree.pop("seconds")),
    (METRICS, "resume", lambda tree: tree.update(config=3)),
    (METRICS, "report", lambda tree: tree["config"]["optim"].update(lr=7.0)),
    *(
        (CHECKPOINT, "extend", lambda tree, key=key: tree.pop(key))
        for key in ("optimizer_states", "loops", "state_dict")
    ),
    (CHECKPOINT, "extend", lambda tree: tree["cl_as_gnn"].pop("seconds")),
    (CHECKPOINT, "extend", lambda tree: tree.update(cl_as_gnn=[])),
    (CHECKPOINT, "inspect", lambda tree: tree.update(state_dict=3)),
    (CHECKPOINT, "extend", lambda tree: tree["cl_as_gnn"].update(config=None)),
    *(
        (CHECKPOINT, "resume", lambda tree, part=part, key=key: tree["cl_as_gnn"]["config"][part].update({key: 7}))
        for part, key in (("optim", "lr"), ("trainer", "batch_size"), ("method", "temperature"), ("data", "split_seed"))
    ),
    (CHECKPOINT, "resume", lambda tree: tree["cl_as_gnn"]["config"].update(seed=7)),
    (CHECKPOINT, "resume", lambda tree: tree["cl_as_gnn"]["config"]["eval"].update(split="validation")),
    (CHECKPOINT, "resume", lambda tree: tree["cl_as_gnn"]["config"]["trainer"].update(epochs=7)),
    (CHECKPOINT, "resume", lambda tree: tree["cl_as_gnn"]["config"]["data"].update(augment=None)),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs of another seed, on twelve images."""
    place = tmp_path_factory.mktemp("runs")
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (place / "data" / name).mkdir(parents=True)
        for i in range(8):
            pixels = draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "data" / name / f"{i}.png")
    settings = ["data.name=folder", f"data.root={place}/data", "data.validation=0", "encoder.width=8"]
    settings += ["encoder.projector_hidden=8", "encoder.projector_dim=4", "trainer.epochs=1", "eval.draws=1"]
    for seed, name in ((0, "run"), (1, "other")):
        train(
            load_config(
                None,
                [*settings, "data.augment.flip=0.5", "eval.baselines=false", f"seed={seed}", f"run_dir={place / name}"],
            )
        )
    return place


@pytest.fixture
def run(runs, tmp_path):
    shutil.copytree(runs / "run", tmp_path / "run")
    return tmp_path / "run"


def in_one_line(found, must_fail, files):
    code, out, error = found
    assert "Traceback" not in out + error
    if code == 0 and not must_fail:
        assert error == ""
        assert out
        return
    assert code in (1, 2), out
    assert error.startswith("error: "), error
    assert error.count("\n") == 1, error
    assert "CLGNN_TRACEBACK" not in error, f"an error that nothing in the package expects: {error}"
    assert any(name in error for name in files), f"names no file: {error}"


# Of a file that a command may read: the other damages are refused where these are, by what reads such a file.
MOST = ("empty", "half", "list", "folder", "another run")
CASES = [
    *((c, f, d) for f in NEEDED for c in NEEDED[f] for d in DAMAGES),
    *(
        pytest.param(c, f, d, marks=() if d in MOST else pytest.mark.slow)
        for f in MAY_READ
        for c in MAY_READ[f]
        for d in DAMAGES
    ),
]


def test_there_are_many():
    assert len(CASES) + len(DETAILS) > 150


@pytest.mark.parametrize(("command", "file", "damage"), CASES)
def test_a_damaged_file(clgnn, runs, run, command, file, damage):
    if damage == "unreadable" and os.geteuid() == 0:
        pytest.skip("root reads everything")
    DAMAGES[damage](run / file, runs / "other")
    must_fail = command in NEEDED[file] and (file, damage) != (METRICS, "dangling")  # as a run that has not finished
    in_one_line(clgnn(*COMMANDS[command]), must_fail, (file, "run"))
    if must_fail:
        assert os.path.lexists(run / METRICS), "the scores are kept"


@pytest.mark.parametrize(("file", "command", "change"), DETAILS)
def test_a_detail_of_another_type_or_of_another_run(clgnn, run, file, command, change):
    changed(run / file, change)
    in_one_line(clgnn(*COMMANDS[command]), True, (Path(file).name,))
    assert (run / METRICS).exists(), "the scores are kept"


@pytest.mark.parametrize(
    "setting",
    [
        ("seed: 0", "seed: 5"),
        ("lr: 0.004", "lr: 0.1"),
        ("split_seed: 0", "split_seed: 3"),
        ("split: test", "split: validation"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "embed", "report", "resume", "inspect"])
def test_an_edited_config_is_refused(clgnn, run, command, setting):
    if (command, setting[0]) == ("inspect", "split: test"):
        pytest.skip("reads the images first, which have no validation set")
    path = run / CONFIG
    assert setting[0] in path.read_text()
    path.write_text(path.read_text().replace(*setting))
    code, out, error = clgnn(*COMMANDS[command])
    said = out + error
    assert code == (0 if "No pictures" in said else 1), said
    key, old = setting[0].split(": ")
    assert f"{key}={old}" in said.replace("\n", " ")
    assert f"{key}={setting[1].split(': ')[1]}" in said.replace("\n", " ")
