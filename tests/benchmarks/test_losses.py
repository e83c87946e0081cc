"""The table of the loss modules, from a row of results."""

from importlib import import_module

from benchmarks.common.store import write


def test_the_table_says_before_and_after(tmp_path):
    losses, path = import_module("benchmarks.losses"), tmp_path / "losses.json"
    assert "No results are checked in" in losses.block(path)
    row = {"loss": "NTXentLoss", "peer": "lightly", "version": "1", "rows": 1024}
    row |= {"seconds": {"ours": 0.01, "theirs": 0.025}, "bytes": {"ours": 2**20, "theirs": 2**22}}
    write(path, losses.header() | {"rows": [row]}, rows="rows")
    assert "| `NTXentLoss` | lightly 1 | 1,024 | 25 | 10 | 2.5 | 4 | 1 |" in losses.block(path)


def test_our_side_of_each_row_runs():
    losses = import_module("benchmarks.losses")
    for name in losses.PEERS:
        assert losses.seconds({"ours": losses.call(name, "ours", 64)})["ours"] > 0
