"""The pages say what the code does."""

import math
import re
from pathlib import Path

import pytest
import torch

from cl_as_gnn import nn
from cl_as_gnn.config import build_config, flatten, load_config
from cl_as_gnn.encoders import Inputs, build_encoder
from cl_as_gnn.methods import METHODS, Batch, build_method
from cl_as_gnn.registry import DATASETS, ENCODERS
from cl_as_gnn.training.fit import train

ROOT = Path(__file__).parents[1]


def test_every_method_has_a_row_with_its_graph_reading():
    page = (ROOT / "docs" / "methods.md").read_text()
    for name, method in METHODS.items():
        if not method.__module__.startswith("cl_as_gnn."):  # a benchmark has its own
            continue
        row = next((line for line in page.splitlines() if line.startswith(f"| `{name}`")), "")
        for text in (method.attracts, method.repels, method.source):
            assert text in row, f"docs/methods.md: the row of {name} lacks {text!r}"


def test_every_layer_and_setting_is_on_its_page():
    layers = (ROOT / "docs" / "layers.md").read_text() + (ROOT / "docs" / "losses.md").read_text()
    assert [name for name in nn.__all__ if name not in layers] == []
    settings = (ROOT / "docs" / "configuration.md").read_text()
    keys = [key.rpartition(".")[2] for key in flatten(build_config({}).model_dump())]
    shared = {"name", "temperature", "num_views"}
    own = set(METHODS["gcn"].Config.model_fields) - shared
    assert [key for key in keys if key not in own and f"{key}" not in settings] == []


def test_every_example_of_the_layers_runs_and_every_layer_has_one():
    page = (ROOT / "docs" / "layers.md").read_text()
    names: dict[str, object] = {}
    torch.manual_seed(0)
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/layers.md", "exec"), names)
    sections = re.split(r"^## ", page, flags=re.MULTILINE)
    for layer in (name for name in nn.__all__ if name != "functional" and not name.endswith("Loss")):
        section = next((part for part in sections if part.startswith(f"{layer}\n")), "")
        for wanted in ("Directions", "Shapes", f"nn.{layer}("):
            assert wanted in section, f"docs/layers.md: {layer} lacks {wanted}"


def test_every_loss_has_a_row_and_a_call_that_runs(capsys):
    page = (ROOT / "docs" / "losses.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "docs/losses.md", "exec"), {})
    losses = [name for name in nn.__all__ if name.endswith("Loss")]
    assert len(capsys.readouterr().out.split()) == len(losses)
    assert [name for name in losses if f"| `{name}(" not in page or f"nn.{name}(" not in block] == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_config_loads(path):
    assert load_config(path).method.name in METHODS


def test_every_link_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            made = target.startswith("generated/")  # when the site is built, .ci/run
            assert made or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def contributing():
    """The names that the examples of CONTRIBUTING.md define; what they register is removed afterwards."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    names: dict[str, object] = {"__name__": "contributing"}
    before = [(registry, set(registry)) for registry in (METHODS, ENCODERS, DATASETS)]
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    yield names
    for registry, old in before:
        for name in set(registry) - old:
            registry.remove(name)


def test_the_examples_of_contributing_train_together(contributing, tmp_path):
    settings = ["method.name=drop", "method.p=0.5", "encoder.name=flat", "encoder.features=64", "data.name=stripes"]
    small = ["trainer.epochs=1", "trainer.batch_size=16", "eval.baselines=false", f"run_dir={tmp_path / 'run'}"]
    metrics = train(load_config(None, [*settings, *small]))
    assert (metrics["method"], metrics["dataset"]) == ("drop", "stripes")
    assert math.isfinite(metrics["loss"])


def test_the_method_and_the_score_of_contributing_do_what_they_say(contributing):
    config = load_config(None, ["method.name=drop", "method.p=0.5"])
    method = build_method(config.method, build_encoder(config.encoder, Inputs(1, 8)), config.encoder, 8)
    _, graph = method(Batch(torch.randn(config.method.num_views * 8, 1, 8, 8), torch.arange(8), 0.0))
    assert graph["view", "augmentation", "view"].edge_index.size(1) < 4 * 3 * 8
    assert contributing["MEAN_NORM"].measure({"test": torch.tensor([[3.0, 4.0]])}) == 5
    assert contributing["MEAN_NORM"].measure({}) is None


STUMBLES = re.compile(
    r"\bwants?\b|\b(re)?(normal|standard|initial|summar|synchron|minim|maxim|recogn)is(e|ed|es|er|ing|ation)\b"
    r"|\boptimis|have their say|has its say|whatever leaves|up to which|in full from|where an index says"
    r"|\b(images|nodes|graphs\)?|views|labels|rows|neighbou?rs|edges|epochs?)"
    r" an? (step|class|sample|view|image|epoch|run)\b",
    re.IGNORECASE,
)
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
PROSE += [path for part in ("docs/*.md", "configs/*.yaml", "cl_as_gnn/**/*.py") for path in sorted(ROOT.glob(part))]


def test_no_text_has_the_phrases_that_readers_stumble_over():
    """British -ise, "wants" for "expects", "a step" for "per step" and kin; tables made from results are left out."""
    found = []
    for path in PROSE:
        text = re.sub(
            r"<!-- results: .*?<!-- end -->",
            lambda block: "\n" * block[0].count("\n"),
            path.read_text(),
            flags=re.DOTALL,
        )
        for number, line in enumerate(text.splitlines(), 1):
            if phrase := STUMBLES.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {phrase[0]!r}")
    assert found == []


def test_the_tour_from_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL):
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["z"].shape == names["features"].shape == (10, 32)
    assert len(names["longer"].history) == 3
    assert (len(names["rows"]), names["page"].is_file()) == (400, True)
