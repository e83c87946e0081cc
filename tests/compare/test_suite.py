from pathlib import Path

import pytest

import cl_as_gnn.methods
from cl_as_gnn.compare import load_suite
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import METHODS
from cl_as_gnn.training.fit import train

assert cl_as_gnn.methods

SUITES = Path(__file__).parents[2] / "benchmarks" / "suites"
SUITE = """
name: tiny
baseline: simclr
seeds: [0]
base:
  trainer: {epochs: 1}
runs:
  simclr: {method: {name: simclr}}
  gcn: {method: {name: gcn, start: 0}}
"""
BUDGET = """
baseline: two
seeds: [0]
budget: {view_epochs: 12, batch_views: 60}
runs:
  two: {method: {name: simclr}}
  three: {method: {name: simclr, num_views: 3}}
  four: {method: {name: gat}}
"""


def write(tmp_path, text):
    path = tmp_path / "tiny.yaml"
    path.write_text(text)
    return path


def test_runs_differ_only_in_what_is_compared(tmp_path):
    _, cells = load_suite(write(tmp_path, SUITE), ["optim.lr=0.01", "seeds=[3, 4]"], tmp_path / "out")
    assert [(c.row, c.seed) for c in cells] == [("simclr", 3), ("simclr", 4), ("gcn", 3), ("gcn", 4)]
    trees = [c.config.model_dump(exclude={"method", "seed", "run_dir"}) for c in cells]
    assert all(tree == trees[0] for tree in trees)
    assert cells[0].config.optim.lr == 0.01


def test_a_redrawn_suite_has_a_split_for_each_seed_and_shares_it_between_runs(tmp_path):
    _, cells = load_suite(write(tmp_path, SUITE + "redraw: true\n"), ["seeds=[3, 4]"], tmp_path / "out")
    assert [c.config.data.split_seed for c in cells] == [3, 4, 3, 4]
    _, fixed = load_suite(write(tmp_path, SUITE), ["seeds=[3, 4]"], tmp_path / "out")
    assert {c.config.data.split_seed for c in fixed} == {0}


def test_a_budget_is_the_same_number_of_images_encoded(tmp_path):
    _, cells = load_suite(write(tmp_path, BUDGET), ["budget.view_epochs=24"], tmp_path / "out")
    found = {c.row: (c.config.trainer.epochs, c.config.trainer.batch_size) for c in cells}
    assert found == {"two": (12, 30), "three": (8, 20), "four": (6, 15)}
    with pytest.raises(ConfigError, match=r"tiny\.yaml, run 'two': trainer.epochs follows from the budget"):
        load_suite(write(tmp_path, BUDGET), ["trainer.epochs=3"], tmp_path / "out")


def test_a_budget_that_whole_epochs_miss_is_refused(tmp_path):
    uneven = BUDGET.replace("view_epochs: 12", "view_epochs: 7")
    with pytest.raises(ConfigError, match=r"views in \d epochs are not equal work to budget.view_epochs=7"):
        load_suite(write(tmp_path, uneven), [], tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SUITE.replace("baseline: simclr", "baseline: moco"), "baseline 'moco' is not one of its runs: simclr, gcn"),
        (SUITE.replace("baseline", "base_line"), "baseline expects to be set"),
        (
            SUITE.replace("start: 0", "strat: 0"),
            "run 'gcn': unknown setting method.strat=0: did you mean",
        ),
        (SUITE + "curves_over: i_nce", "curves_over=i_nce is not one of scores: add it there"),
        (SUITE + "scores: [graph_purity]", "graph_purity, which has a column already: drop it"),
        (SUITE + "scores: [i_nec]", "unknown score 'i_nec': did you mean 'i_nce'?"),
        (SUITE + "curves: {k: [gat]}", "curves name 'gat', which is not one of its runs: simclr, gcn"),
        (SUITE.replace("seeds: [0]", "seeds: []"), "seeds expects a list of at least 1"),
        (SUITE.replace("seeds: [0]", "seeds: [a]"), "seeds.0 expects a whole number"),
        (SUITE.replace("seeds: [0]", "seeds: [0, 1, 0]"), "has 0 twice: name each seed once"),
        *(
            (SUITE.replace("  gcn:", f"  '{name}':"), "names a folder: use letters")
            for name in ("", ".", "..", "../../evil", "/tmp/evil", "a/b", "a ", "C:evil")
        ),
        (SUITE + "runz: 1", "runz is not one of name, baseline, seeds"),
    ],
)
def test_mistakes_are_found_before_anything_runs(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        load_suite(path, [], tmp_path / "out")


@pytest.mark.parametrize("given", ["budget=3", "budget=[1]", "trainer=3", "budget.zz=1"])
def test_a_section_of_another_kind_is_one_line(tmp_path, given):
    with pytest.raises(ConfigError, match=given.partition("=")[0]):
        load_suite(write(tmp_path, BUDGET), [given], tmp_path / "out")


def test_a_budget_can_be_taken_away(tmp_path):
    suite, _ = load_suite(write(tmp_path, BUDGET), ["budget=null"], tmp_path / "out")
    assert suite.budget is None


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda p: p.name)
def test_every_suite_of_the_benchmarks_is_right(tmp_path, path):
    suite, cells = load_suite(path, [], tmp_path)
    assert suite.name == path.stem
    assert len({c.config.digest for c in cells}) == len(suite.runs) * len(suite.seeds)
    if suite.budget:
        for cell in cells:
            views = cell.config.method.num_views
            done = cell.config.trainer.epochs * views
            assert done == pytest.approx(suite.budget.view_epochs, abs=views / 2), "right to half an epoch"


def test_the_suites_on_digits_have_every_method_for_images():
    own = {name: m for name, m in METHODS.items() if m.__module__.startswith("cl_as_gnn.")}  # a benchmark has its own
    one_view = {name for name, method in own.items() if method.needs_patches or method.needs_split}
    images = {name for name, method in own.items() if "images" in method.reads} - one_view
    rows = set()
    for name in ("digits", "digits_prototypes"):
        suite, cells = load_suite(SUITES / f"{name}.yaml", [], Path("out"))
        names = {c.config.method.name for c in cells}
        assert names == set(suite.runs) - {"gcn_every_edge"}
        rows |= names
    assert rows == images


def test_the_smoke_version_has_the_runs_of_the_paper_and_they_run(tmp_path):
    paper, _ = load_suite(SUITES / "paper.yaml", [], tmp_path)
    smoke, cells = load_suite(SUITES / "paper_smoke.yaml", ["budget.view_epochs=4"], tmp_path)
    assert {row: run["method"] for row, run in smoke.runs.items()} == {r: x["method"] for r, x in paper.runs.items()}
    for cell in cells:
        assert train(cell.config)["knn_top1"] > 10
