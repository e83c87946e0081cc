"""The scaling benchmark runs."""

import importlib

import pytest


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
    result = {"k": 10, "rows": rows}
    assert [table(result).count("\n") for table in scaling.TABLES.values()] == [4, 4, 3]
