"""Data sets from packages as folders, and what the tables of ``benchmarks.where`` say."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.where import page, sets
from benchmarks.where.runs import SETS, SUITE, overrides
from cl_as_gnn.compare import load_suite
from cl_as_gnn.datasets.graph_files import read_tu
from cl_as_gnn.errors import ConfigError

MOLECULE = """{name}
     RDKit          2D

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.0000    0.0000    0.0000 C   0  0
    2.0000    0.0000    0.0000 {last}   0  0
  1  2  1  0
  2  3  1  0
M  END
>  <SOL_classification>  (1)
({label}) low

$$$$
"""


def test_molecules_become_a_tu_dataset(tmp_path):
    (tmp_path / "solubility.train.sdf").write_text(
        MOLECULE.format(name="a", last="O ", label="A") + MOLECULE.format(name="b", last="Cl", label="C")
    )
    (tmp_path / "solubility.test.sdf").write_text(MOLECULE.format(name="c", last="C ", label="A"))
    assert sets.write("solubility", tmp_path, tmp_path) == {"graphs": 3}
    graph, labels = read_tu(tmp_path, "solubility")
    assert labels.tolist() == [0, 1, 0]
    assert graph.x.argmax(1).tolist() == [0, 0, 1, 0, 0, 2, 0, 0, 0]
    assert graph.edge_index.t().tolist()[:4] == [[0, 1], [1, 0], [1, 2], [2, 1]]


def test_textures_share_no_column_between_splits(tmp_path):
    for i, name in enumerate(("brick", "grass", "gravel")):
        columns = np.repeat((np.arange(512) // 32 + 16 * i).astype(np.uint8)[None], 512, axis=0)
        Image.fromarray(columns).save(tmp_path / f"{name}.png")
    counts = sets.write("textures", tmp_path, tmp_path / "out")
    assert counts == {"train": 480, "validation": 144, "test": 144}
    seen = {
        split: {np.asarray(Image.open(path)).max() for path in (tmp_path / "out/textures" / split).rglob("*.png")}
        for split in sets.SPLITS
    }
    assert sum(map(len, seen.values())) == len(set().union(*seen.values())) == 48


def test_class_folders_are_dealt_once(tmp_path):
    for split, count in (("train", 150), ("test", 100)):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((2, 2, 3), i, dtype=np.uint8)).save(folder / f"{i:03}.png")
    assert sets.write("cifar10", tmp_path, tmp_path / "out") == {"train": 200, "validation": 100, "test": 200}
    held = [
        {np.asarray(Image.open(path)).max() for path in (tmp_path / "out/cifar10" / split / "cat").iterdir()}
        for split in ("train", "validation")
    ]
    assert not held[0] & held[1]


def test_names_of_icons_show_one_thing():
    names = ["star-outline", "star-off", "book-star", "lock", "lock-2", "unlock", "arrow-up"]
    assert sets._things(names) == {"star": ["star-outline"], "lock": ["lock", "lock-2"]}


def test_a_source_that_is_not_there_costs_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"textures=.*cannot be read"):
        sets.write("textures", tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="no data set of this benchmark: cifar10"):
        sets.write("imagenet", tmp_path, tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_every_data_set_has_runs_of_one_suite_and_one_recipe(tmp_path, name):
    suite, cells = load_suite(SUITE, overrides(name, tmp_path, "test"), tmp_path)
    assert set(page.HOSTS) | set(page.HOSTS.values()) == set(suite.runs)
    assert len(cells) == 3 * len(suite.runs)
    recipes = [cell.config.model_dump(include={"data", "encoder", "optim", "eval"}) for cell in cells]
    assert all(recipe == recipes[0] for recipe in recipes)
    assert {cell.config.trainer.epochs * cell.config.method.num_views for cell in cells} == {suite.budget.view_epochs}


@pytest.fixture
def content():
    def row(values):
        shared = dict.fromkeys(page.SCORES, 50.0) | {"graph_agreement": 0.4, "graph_purity": 0.5, "seconds": 10.0}
        return {str(seed): shared | {"linear_top1": value} for seed, value in enumerate(values)}

    rows = {"simclr": row([50, 52, 54]), "gcn": row([49, 51]), "simsiam": row([40]), "jk": row([45])}
    return {
        "split": "test",
        "date": "2026-01-01",
        "versions": {"cl-as-gnn": "0", "torch": "2"},
        "machine": {"processor": "one"},
        "sets": {"digits": {"protocol": "frozen", "epochs": 20, "rows": rows}},
    }


def test_differences_are_paired_with_the_host_and_losses_are_named(content, tmp_path):
    rows = content["sets"]["digits"]["rows"]
    assert page.gain(rows, "gcn", "linear_top1") == (-1, 0)
    assert page.gain(rows, "jk", "linear_top1")[0] == 5
    assert page.gain(rows, "wcl", "linear_top1") is None
    assert page.broken(content, "gcn") == ["digits linear **-1.0 ± 0.0**"]
    (tmp_path / "where_it_pays_test.json").write_text(json.dumps(content))
    text = page.tables("test", tmp_path)
    assert "| digits | 2 | +0.0 ± 0.0 | **-1.0 ± 0.0** |" in text
    assert "| digits | 1 | +0.0 | +5.0 |" in text
    assert "**`wcl` − `simclr`**: no run has finished yet." in text
    assert [axes.get_xlabel() for axes in page.picture(content).axes[::4]] == ["agreement of views", "purity of edges"]


def test_runs_are_added_to_those_of_the_results_file(content):
    known = json.loads(json.dumps(content))
    about = content["sets"]["digits"]
    sets = {"digits": {**about, "rows": {}}, "mnist": about}
    new = {**content, "versions": {"cl-as-gnn": "0", "torch": "3"}, "sets": sets}
    new["sets"]["digits"]["rows"] = {"gcn": {"1": {"linear_top1": 60.0}}, "wcl": {"0": {"linear_top1": 70.0}}}
    both = page.merged(known, new)
    assert known == content
    rows = both["sets"]["digits"]["rows"]
    assert [rows["gcn"][seed]["linear_top1"] for seed in "01"] == [49, 60]
    assert (rows["wcl"]["0"]["linear_top1"], rows["jk"], both["sets"]["mnist"]) == (70, about["rows"]["jk"], about)
    assert (both["versions"]["torch"], [made["versions"]["torch"] for made in both["earlier"]]) == ("3", ["2"])
    assert page.merged(both, new)["earlier"] == both["earlier"]
    known["sets"]["digits"]["epochs"] = 40
    with pytest.raises(ConfigError, match="digits has epochs 40 in the results file, and 20 in the runs"):
        page.merged(known, new)
