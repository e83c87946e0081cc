"""The hardest view against the mean of as many."""

import importlib

import pytest


@pytest.fixture(scope="module")
def arcl():
    return importlib.import_module("benchmarks.arcl")


def rows(**values):
    return {
        name: {"seeds": {str(seed): {"linear_top1": value, "knn_top1": 50.0} for seed, value in enumerate(row)}}
        for name, row in values.items()
    }


def test_differences_are_paired_at_equal_views(arcl):
    found = rows(mean_2=(1, 2), mean_4=(70, 72), hardest_2=(1, 2), hardest_4=(71, 75), hardest_8=(1, 2))
    mean, half = arcl.paired({"rows": found}, "hardest_4", "linear_top1")
    assert mean == 2
    assert half == pytest.approx(12.7062, abs=1e-4)
    assert arcl.paired({"rows": found}, "hardest_4", "shift_linear_top1") is None
    assert arcl.paired({"rows": found}, "hardest_8", "linear_top1") is None
    lines = arcl.differences({"rows": found}, ("linear_top1", "knn_top1")).splitlines()
    assert [line for line in lines if "`hardest_4` − `mean_4`" in line] == [
        "| `hardest_4` − `mean_4` | +2.0 ± 12.7 | +0.0 ± 0.0 |"
    ]
    assert not any("hardest_2" in line for line in lines)


def test_the_suites_have_their_blocks(arcl):
    blocks = arcl.blocks()
    assert set(blocks) == {"arcl_digits", "arcl_cifar10"}
    for text in (block() for block in blocks.values()):
        assert "No results are checked in" in text or "Hardest minus mean" in text
