"""The docs pages hold what the results say; marks, stored results and tables behave at their edges."""

import importlib
import json

import pytest

from benchmarks.common import page, store, table


@pytest.fixture(scope="module")
def pages():
    return importlib.import_module("benchmarks.pages")


def test_every_page_is_what_the_results_say(pages):
    stale = [path.name for path, _ in page.stale(pages.BLOCKS)]
    assert stale == [], "run python -m benchmarks.pages"


def test_every_result_has_a_mark_and_its_current_protocol(pages):
    marked = {name for path in page.DOCS.glob("*.md") for name in page.marks(path.read_text(encoding="utf-8"))}
    assert {path.stem for path in store.RESULTS.glob("*.json") if "suite" in store.read(path)} <= marked
    assert {name for name in pages.BLOCKS if not name.startswith("paper")} <= marked
    for name in ("nodes", "splits", "graphs", "depth", "alignment", "memory"):
        module = importlib.import_module(f"benchmarks.graph_ssl.{name}")
        content = store.read(module.OUT)
        assert {key: content[key] for key in module.ABOUT} == module.ABOUT


def test_only_the_marked_text_changes():
    text = "Before.\n<!-- results: a -->\nold\n<!-- end -->\nBetween.\n<!-- results: b -->\n<!-- end -->\nAfter.\n"
    new = page.refreshed(text, {"a": lambda: "new\n", "b": lambda: "\\1\n"})
    assert new == text.replace("old", "new").replace("b -->\n", "b -->\n\\1\n")
    assert page.marks(new) == ["a", "b"]
    with pytest.raises(ValueError, match="mark 'a': no benchmark makes it"):
        page.refreshed(text, {})


def test_the_check_writes_nothing(pages, tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    path.write_text("<!-- results: a -->\n<!-- end -->\n")
    monkeypatch.setattr(pages, "BLOCKS", {"a": lambda: "new\n"})
    monkeypatch.setattr(pages, "stale", lambda blocks: page.stale(blocks, tmp_path))
    with pytest.raises(SystemExit):
        pages.main(["--check"])
    assert "new" not in path.read_text()
    pages.main([])
    assert "new" in path.read_text()
    pages.main(["--check"])


def test_a_store_continues_and_refuses_another_protocol(tmp_path):
    path = tmp_path / "deep" / "results.json"
    first = store.Store(path, {"protocol": "ten runs"})
    first.add(seed=0, name="é", score=1.5)
    assert not list(path.parent.glob("*.part"))
    again = store.Store(path, {"protocol": "ten runs"})
    assert [job["seed"] for job in again.pending(store.grid(seed=range(3)))] == [1, 2]
    assert list(again.pending(store.grid(seed=range(3)), minutes=0)) == []
    again.add(seed=1, score=2)
    assert json.loads(path.read_text(encoding="utf-8")) == again.content
    assert len(again.runs) == 2
    assert {"versions", "machine"} <= again.content.keys()
    with pytest.raises(ValueError, match="was made with protocol=ten runs, now it is more"):
        store.Store(path, {"protocol": "more"})


def test_cells():
    assert table.spread([]) == table.significant(None) == table.fixed(None) == "–"
    assert [table.spread([1.0]), table.spread([1.0, 3.0]), table.spread([2.0] * 5)] == [
        "1.0 (1)",
        "2.0 ± 1.4 (2)",
        "2.0 ± 0.0",
    ]
    assert [table.significant(x) for x in (0, 1e-5, 0.01234, 1234.5)] == ["0", "1e-05", "0.0123", "1,234"]
    assert table.markdown(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |\n"
