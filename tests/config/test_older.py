"""Old names of settings work, with a warning, for one release."""

import ast
import tomllib
from pathlib import Path

import pytest

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import Notice

ROOT = Path(__file__).parents[2]


def test_an_old_name_warns_and_means_the_new_one(clgnn):
    old = ["data.name=karate", "encoder.name=sage", "encoder.width=8"]
    with pytest.warns(
        Notice, match="encoder.name=sage is encoder.name=gnn encoder.conv=sage now: version 0.4 will not"
    ):
        config = load_config(None, old)
    assert config == load_config(None, ["data.name=karate", "encoder.conv=sage", "encoder.width=8"])


def test_no_old_name_outstays_its_release():
    now = tuple(map(int, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"].split(".")))
    calls = [
        node
        for path in (ROOT / "cl_as_gnn").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "deprecated"
    ]
    gone = [next(word.value.value for word in call.keywords if word.arg == "gone") for call in calls]
    assert [version for version in gone if tuple(map(int, version.split("."))) <= now] == [], "remove these names"
