"""The pages say what the code does."""

from pathlib import Path

import pytest
import torch

from cl_as_gnn import nn
from cl_as_gnn.config import build_config, flatten, load_config
from cl_as_gnn.encoders import Inputs, build_encoder
from cl_as_gnn.methods import METHODS, Batch, build_method

ROOT = Path(__file__).parents[1]


def test_every_method_has_a_row_with_its_graph_reading():
    page = (ROOT / "docs" / "methods.md").read_text()
    for name, method in METHODS.items():
        row = next((line for line in page.splitlines() if line.startswith(f"| `{name}`")), "")
        for text in (method.attracts, method.repels, method.source):
            assert text in row, f"docs/methods.md: the row of {name} lacks {text!r}"


def test_every_layer_and_setting_is_on_its_page():
    layers = (ROOT / "docs" / "layers.md").read_text()
    assert [name for name in nn.__all__ if name not in layers] == []
    settings = (ROOT / "docs" / "configuration.md").read_text()
    keys = [key.rpartition(".")[2] for key in flatten(build_config({}).model_dump())]
    shared = {"name", "temperature", "num_views"}
    own = set(METHODS["gcn"].Config.model_fields) - shared
    assert [key for key in keys if key not in own and f"{key}" not in settings] == []


def test_every_example_of_the_layers_runs_and_every_layer_has_one():
    import re

    page = (ROOT / "docs" / "layers.md").read_text()
    names: dict[str, object] = {}
    torch.manual_seed(0)
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/layers.md", "exec"), names)
    sections = re.split(r"^## ", page, flags=re.MULTILINE)
    for layer in (name for name in nn.__all__ if name != "functional"):
        section = next((part for part in sections if part.startswith(f"{layer}\n")), "")
        for wanted in ("Directions", "Shapes", f"nn.{layer}("):
            assert wanted in section, f"docs/layers.md: {layer} lacks {wanted}"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_config_loads(path):
    assert load_config(path).method.name in METHODS


def test_every_link_of_the_readme_leads_somewhere():
    import re

    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_of_a_method_in_contributing_builds_and_is_found():
    import re

    block = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[0]
    names: dict[str, object] = {"__name__": "contributing"}
    try:
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
        config = load_config(None, ["method.name=drop", "method.p=0.5"])
        method = build_method(config.method, build_encoder(config.encoder, Inputs(1, 8)), config.encoder, 8)
        views = torch.randn(config.method.num_views * 8, 1, 8, 8)
        loss, graph = method(Batch(views, torch.arange(8), 0.0))
        loss.backward()
        assert graph["view", "augmentation", "view"].edge_index.size(1) < 4 * 3 * 8
    finally:
        METHODS.remove("drop")
