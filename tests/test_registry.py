"""The registries: entries are whole, an unknown name costs one line, other packages join, listings stay light."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import Forked

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS, Registry, from_source

REGISTRIES = {"method": METHODS, "encoder": ENCODERS, "data": DATASETS}
ENTRIES = [(key, name) for key, registry in REGISTRIES.items() for name in registry]
KINDS = {"images", "nodes", "graphs"}

FOREIGN = """
from typing import Literal

import torch
from cl_as_gnn.config import DataConfig, EncoderConfig
from cl_as_gnn.datasets import ImageDataset, Split
from cl_as_gnn.encoders import Encoder
from cl_as_gnn.evaluation.scores import Score
from cl_as_gnn.methods.base import SoftmaxConfig, SoftmaxMethod


class MineConfig(SoftmaxConfig):
    name: Literal["mine"] = "mine"
    scale: float = 2.0


class Mine(SoftmaxMethod[MineConfig]):
    Config = MineConfig
    attracts = "the other view"
    source = "a test"


class FlatConfig(EncoderConfig):
    name: Literal["flat"] = "flat"


class Flat(Encoder):
    Config = FlatConfig
    summary = "one linear map"

    def __init__(self, size):
        super().__init__()
        self.out_dim = 16
        self.linear = torch.nn.Linear(size, 16)

    @classmethod
    def build(cls, config, inputs):
        return cls(inputs.channels * inputs.image_size**2)

    def forward(self, x):
        return self.linear(x.flatten(1))


class StripesConfig(DataConfig):
    name: Literal["stripes"] = "stripes"


class Stripes(ImageDataset):
    Config = StripesConfig
    summary = "noise and stripes"

    @classmethod
    def parts(cls, config, progress):
        images = torch.randint(0, 255, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
        labels = torch.arange(64) % 2
        images[labels == 1, :, ::2] = 0
        return ("noise", "stripes"), Split(images[:48], labels[:48]), Split(images[48:], labels[48:])


height = Score("height", "Height", measure=lambda features: float(features["test"].abs().max()))
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A package of someone else, as pip installs it, on the path of new processes."""
    (tmp_path / "strange.py").write_text(FOREIGN)
    info = tmp_path / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    groups = {"methods": "Mine", "encoders": "Flat", "data": "Stripes", "scores": "height"}
    points = "".join(f"[cl_as_gnn.{group}]\nmine = strange:{name}\n" for group, name in groups.items())
    (info / "entry_points.txt").write_text(points)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])]))
    return tmp_path


def clgnn(*words, folder):
    """In a new process."""
    command = [sys.executable, "-m", "cl_as_gnn.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def after_imports(*words, folder):
    """Where the package and torch are imported, and no entry is."""
    (folder / "command.py").write_text("import sys\nfrom cl_as_gnn import cli\nsys.path.append('')\ncli.main()")
    process = Forked(folder, *words, script="command.py")
    out, error = process.communicate()
    return process.returncode, out, error


@pytest.mark.parametrize(("key", "name"), ENTRIES)
def test_every_entry_is_whole(key, name):
    entry = REGISTRIES[key][name]
    assert entry.Config(name=name).name == name
    if key == "method":
        assert entry.attracts
        assert entry.repels
        assert entry.source
        assert set(entry.reads) <= KINDS
    elif key == "encoder":
        assert entry.summary
        assert set(entry.reads) <= KINDS
    else:
        assert entry.summary
        assert entry.holds in KINDS


SCHEMAS = """
import json, sys
from contextlib import nullcontext
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS, from_source
light = "torch" not in sys.modules
with from_source() if light else nullcontext():
    registries = (METHODS, ENCODERS, DATASETS)
    found = {r.key: {name: entry.Config.model_json_schema() for name, entry in r.items()} for r in registries}
assert ("torch" not in sys.modules) is light
print(json.dumps([light, found], sort_keys=True))
"""


def test_settings_read_from_source_are_those_of_the_classes(tmp_path):
    (tmp_path / "schemas.py").write_text(SCHEMAS)
    new = subprocess.run([sys.executable, "-c", SCHEMAS], capture_output=True, text=True, check=True)
    out, _ = Forked(tmp_path, script="schemas.py").communicate()
    (light, found), (heavy, expected) = json.loads(new.stdout), json.loads(out)
    assert (light, heavy) == (True, False)
    assert found == expected


def test_listings_and_mistakes_do_not_import_torch(tmp_path):
    """One new process, in which the mistakes come first: the listings would have read the classes for them."""
    (tmp_path / "config.yaml").write_text("seed: 0")
    (tmp_path / "suite.yaml").write_text("{baseline: a, scores: [i_nce], runs: {a: {method: {name: simclr}}}}")
    mistakes = [
        *(["train", "method.name=gcm"], ["train", "seed=x"], ["train", f"resume={tmp_path}", "sede=1"]),
        ["compare", f"{tmp_path}/suite.yaml", "method.temprature=1"],
    ]
    code = f"""
import io, sys
from contextlib import redirect_stderr
from cl_as_gnn import cli
for words in {[*mistakes, ["methods"], ["encoders"], ["data"]]!r}:
    sys.argv[1:] = words
    with redirect_stderr(io.StringIO()) as said:
        try: cli.main()
        except SystemExit: pass
    assert "torch" not in sys.modules, words
    assert said.getvalue().startswith("error: ") is (words in {mistakes!r}), (words, said.getvalue())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_that_do_not_exist_and_names_taken_twice_are_one_line():
    with pytest.raises(
        ConfigError, match=r"unknown encoder 'resnet8' \(encoder.name=resnet8\): did you mean 'resnet18'"
    ):
        ENCODERS["resnet8"]
    registry = Registry("method", "cl_as_gnn.methods", "gcn")
    gcn = METHODS["gcn"]
    registry.register(gcn)
    registry.register(gcn)
    other = type("Other", (), {"Config": gcn.Config, "__module__": "elsewhere"})
    with pytest.raises(ConfigError, match=r"elsewhere and cl_as_gnn.methods.gcn both define method.name=gcn"):
        registry.register(other)


def test_the_real_classes_are_used_once_they_are_there():
    entry = METHODS["gcn"]
    with from_source():
        assert METHODS["gcn"] is entry


def test_a_method_an_encoder_a_data_set_and_a_score_of_another_package(foreign):
    for command, name in (("methods", "mine"), ("encoders", "flat"), ("data", "stripes")):
        assert name in clgnn(command, folder=foreign)[1]
    names = ["method.name=mine", "encoder.name=flat", "data.name=stripes"]
    words = [*names, "trainer.epochs=1", "trainer.batch_size=16", "eval.draws=1", "run_dir=run"]
    assert after_imports("train", *words, folder=foreign)[::2] == (0, "")
    assert '"height"' in (foreign / "run" / "metrics.json").read_text()
    assert after_imports("evaluate", "run", folder=foreign)[::2] == (0, "")
    wrong = clgnn("train", *names, "method.scal=3", folder=foreign)[2]
    assert wrong == "error: unknown setting method.scal=3: did you mean method.scale?\n"


def test_a_broken_package_is_named(foreign):
    (foreign / "strange.py").write_text("import absent_package_of_theirs")
    code, _, error = after_imports("train", "trainer.epochs=1", folder=foreign)
    assert code == 2
    assert "an entry point of cl_as_gnn.data, cannot be imported" in error
