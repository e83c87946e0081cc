"""The pages say what the code does."""

from pathlib import Path

import pytest
import torch

from cl_as_gnn import nn
from cl_as_gnn.config import build_config, flatten, load_config
from cl_as_gnn.methods import METHODS

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
