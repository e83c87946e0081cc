"""The cost of checks: those of a call are found, made again, and put back."""

import torch

from benchmarks import checks
from benchmarks.common.store import header, write
from cl_as_gnn.nn import AlignmentConv, edges
from cl_as_gnn.nn.checks import check_edges


def test_the_checks_of_a_call_are_recorded_and_put_back():
    layer, x, edge_index = AlignmentConv(), torch.ones(2, 3), torch.tensor([[0, 1], [1, 0]])
    with checks.recorded() as made:
        layer(x, edge_index)
    assert {check.func.__name__ for check in made} >= {"check_features", "check_edges", "check_range"}
    assert edges.check_edges is check_edges


def test_each_call_is_measured_and_shown(tmp_path):
    rows, path = list(checks.measure(8, rounds=1)), tmp_path / "checks.json"
    assert len({row["call"] for row in rows}) == len(rows) > 15
    assert all(min(row["checks"], row["forward"], row["both"]) > 0 for row in rows)
    assert all(row["count"] > 0 for row in rows if row["call"] != "StageAggregation")
    assert "No results are checked in" in checks.block(path)
    row = rows[0] | {"checks": 1e-5, "forward": 1e-3, "both": 2e-3}
    row |= {"new_checks": 3e-5, "new_forward": 2e-3, "new_both": 3e-3}
    write(path, header() | {"rows": [row]}, rows="rows")
    assert "| 10.0 | 1.00% | 0.50% | 30.0 | 1.50% | 1.00% |" in checks.block(path)
