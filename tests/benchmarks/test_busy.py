"""All pairs beside other work: both kinds are measured on the same threads, and shown."""

from benchmarks import busy
from benchmarks.common.store import header, write
from cl_as_gnn.nn.streaming import sharing


def test_both_kinds_are_measured_and_shown(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(busy, "softmax_all_pairs", lambda *_, **__: seen.append(sharing.BLOCKS_A_THREAD))
    row = busy.measure(64, 1, 0.0)
    usual = sharing.BLOCKS_A_THREAD
    assert seen[1] > 2**31
    assert seen[0] == seen[2] == usual
    path = tmp_path / "busy.json"
    assert "No results are checked in" in busy.block(path)
    row |= {"operators": 0.2, "shared": 0.1, "ratio": 0.5, "rounds": 3}
    write(path, header() | {"threads": 2, "rows": [row]}, rows="rows")
    assert "| 64 | 1 | 200 ms | 100 ms | 0.50 | 3 |" in busy.block(path)
