"""The benchmark of growth runs, and its model goes through what was measured."""

import importlib
import json

import pytest


@pytest.fixture
def growth():
    return importlib.import_module("benchmarks.growth")


def test_every_part_is_measured_and_the_law_goes_on(growth, tmp_path, monkeypatch):
    rows = growth.measure((64, 128), rounds=1)
    assert {row["part"] for row in rows} == set(growth.PARTS)
    result = {"rows": rows, "about": "as it is", "versions": {"torch": "2"}, "machine": {"processor": "one"}}
    last = {row["part"]: row["s"] for row in rows if row["n"] == 128}
    assert growth.model(result, "loss", 512) == pytest.approx(16 * last["loss"])
    assert growth.model(result, "queue", 512) == pytest.approx(4 * last["queue"])
    (tmp_path / "growth.json").write_text(json.dumps(result))
    monkeypatch.setattr(growth, "read", lambda path: json.loads(path.read_text()))
    text = growth.table(tmp_path / "growth.json")
    assert text.count("\n") == len(growth.PARTS) + 4
    assert text.endswith("as it is one, torch 2.\n")
    growth.draw(result, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000
