"""The scaling benchmark runs, and its page quotes its results."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scaling():
    return importlib.import_module("benchmarks.scaling")


def test_every_part_is_measured(scaling):
    rows = scaling.measure({"nodes": (32, 64), "ranks": (1, 2), "bank": (600,)}, rounds=1)
    assert [row["part"] for row in rows] == [
        *["all pairs", "kNN graph"] * 2,
        *["all pairs, one rank"] * 2,
        "bank",
        "bank, IVF",
    ]
    assert all(row["s"] > 0 for row in rows)
    assert 0.5 < rows[-1]["recall"] <= 1
    assert len(scaling.tables({"rows": rows})) == 5


def test_the_page_quotes_the_results(scaling):
    result = json.loads(scaling.RESULTS.read_text())
    page = (ROOT / "docs" / "scaling.md").read_text()
    assert [line for line in scaling.tables(result) if line not in page] == []
    assert f"{result['threads']} thread" in page
