"""The nightly command: a real kill, the counts of tests, the table, and going on where it was stopped."""

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.common import store
from cl_as_gnn.compare import load_suite

kills, checks, page = (import_module(f"benchmarks.promises.{name}") for name in ("kills", "checks", "page"))
main = import_module("benchmarks.promises.__main__")


def test_a_killed_run_is_continued_and_compared_to_the_byte(tmp_path, monkeypatch):
    """On the karate club, which takes a second."""
    monkeypatch.setattr(kills, "_SMALL", (*kills._SMALL, "trainer.epochs=2", "eval.baselines=false", "eval.draws=1"))
    monkeypatch.setattr(main, "_SMOKE", {"kills": ["dgi"], "tests": [], "suites": []})
    out = tmp_path / "promises.json"
    words = ["--smoke", "--kills", "1", "--out", str(out), "--scratch", str(tmp_path / "runs")]
    main.main(words)
    (found,) = store.read(out)["runs"]
    assert (found["part"], found["method"], found["held"]) == ("kills", "dgi", True)
    assert found["where"] in ("before the first checkpoint", "in training", "in evaluation")
    assert (tmp_path / "runs" / "dgi" / "metrics.json").exists()
    assert not (tmp_path / "runs" / "dgi-0").exists()
    monkeypatch.setattr(main, "do", lambda *_: pytest.fail("it is in the file already"))
    main.main(words)
    one = kills.RunFolder(tmp_path / "runs" / "dgi")
    assert kills.difference(one, one) == ""
    history = one.history.read_text()
    two = kills.RunFolder(tmp_path / "two")
    monkeypatch.setattr(two, "encoder", one.encoder)
    monkeypatch.setattr(two, "checkpoint", one.checkpoint)
    two.path.mkdir()
    two.history.write_text(history.replace("\n2,", "\n2,1", 1))
    assert kills.difference(one, two) == "metrics.csv"


def test_the_counts_of_tests_are_those_of_pytest(tmp_path, monkeypatch):
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_a(): pass\n"
        "def test_b(): assert False\n"
        "def test_c(): pytest.skip('')\n"
        "def test_d(): print({'compared': 3})\n"
        "def test_e(): print({'compared': 4})\n"
    )
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    monkeypatch.setitem(checks.CHECKS, "fuzz", checks.Check("it holds", "by tests", ("test_some.py", "gone.py")))
    found = checks.run_tests("fuzz", 7, tmp_path)
    assert found == {"passed": 3, "failed": 1, "skipped": 1, "calls": {"compared": 7}}
    (tmp_path / "test_some.py").write_text("import nothing_of_this_name\n")
    assert checks.run_tests("fuzz", 7, tmp_path)["failed"] == 1


def test_the_table_says_what_did_not_hold_and_what_was_not_tried():
    runs = [{"part": "kills", "index": i, "method": "simclr", "where": "in training", "held": i > 0} for i in range(3)]
    runs.append({"part": "tests", "name": "fuzz", "passed": 1, "failed": 1, "skipped": 0, "calls": {"compared": 9000}})
    text = page.table(runs)
    assert "2 of 3 kills, 1 method (3 in training)" in text
    assert "1 of 2 cases: 9,000 calls agree" in text
    assert text.count("not run") == len(checks.CHECKS)


def test_every_file_behind_a_promise_exists():
    for check in checks.CHECKS.values():
        assert [file for file in check.files if not (checks.ROOT / file).exists()] == []


def test_every_suite_has_a_miniature(tmp_path):
    for suite in checks.suites():
        path, *settings = checks.small(suite, tmp_path)
        _, cells = load_suite(Path(path), settings, tmp_path)
        assert {cell.config.trainer.epochs for cell in cells} == {1}, suite
    assert "paper_smoke" in checks.suites()
