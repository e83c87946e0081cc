import os
import shutil
from pathlib import Path

import pytest
import torch

from cl_as_gnn.config import GraphDataConfig, load_config
from cl_as_gnn.datasets import GraphSet, NodeData, load_graphs
from cl_as_gnn.errors import ConfigError

CLASSES, NODES = 3, 700  # of the files that tests/conftest.py writes


def test_communities_are_the_same_graph_every_time():
    config = load_config(None, ["data.name=communities"]).data
    one, two = load_graphs(config), load_graphs(config)
    assert torch.equal(one.graph.x, two.graph.x)
    assert torch.equal(one.graph.edge_index, two.graph.edge_index)
    parts = [int(mask.sum()) for mask in (one.train, one.validation, one.test)]
    assert (parts, sum(parts)) == ([30, 300, 870], one.graph.num_nodes)
    source, target = one.graph.edge_index
    within = (one.graph.y[source] == one.graph.y[target]).float().mean()
    assert 0.65 < within < 0.77, "65 % on purpose, and a sixth of the others"


def test_karate_needs_no_files():
    data = load_graphs(GraphDataConfig())
    assert isinstance(data, NodeData)
    assert (data.graph.x.size(0), int(data.train.sum()), int(data.validation.sum())) == (34, 4, 0)
    assert torch.equal(data.test, ~data.train)


@pytest.mark.parametrize(
    ("settings", "dataset"),
    [
        ({"name": "cora"}, "Cora"),
        ({"name": "planetoid"}, "Cora"),
        ({"name": "planetoid", "dataset": "CiteSeer"}, "CiteSeer"),
        ({"name": "pubmed"}, "PubMed"),
    ],
)
def test_planetoid_has_its_public_split(tmp_path, write_planetoid, settings, dataset):
    data = load_graphs(GraphDataConfig(root=write_planetoid(tmp_path, dataset), **settings))
    assert data.name == dataset.lower()
    assert data.graph.y.unique().numel() == CLASSES
    assert [int(mask.sum()) for mask in (data.train, data.validation, data.test)] == [30, 500, 100]
    assert not (data.train & data.validation).any()
    assert not ((data.train | data.validation) & data.test).any()
    source, target = data.graph.edge_index
    assert (source != target).all(), "GNNs add their own self-loops"
    sums = data.graph.x.sum(1)
    torch.testing.assert_close(sums[1:][sums[1:] > 0], torch.ones(int((sums[1:] > 0).sum())))
    assert sums[0] == 0, "a node without features has none"
    raw = load_graphs(GraphDataConfig(root=tmp_path, normalize=False, **settings))
    assert set(raw.graph.x.unique().tolist()) == {0.0, 1.0}
    assert raw.graph.x.size(0) == NODES


def test_tu_keeps_its_graphs_apart(tmp_path, write_tu):
    data = load_graphs(GraphDataConfig(name="tu", root=write_tu(tmp_path)))
    assert isinstance(data, GraphSet)
    assert (len(data), data.name) == (40, "MUTAG")
    assert torch.bincount(data.labels).tolist() == [20, 20]
    graph = data.graph
    assert (graph.batch[graph.edge_index[0]] == graph.batch[graph.edge_index[1]]).all()
    assert torch.equal(graph.x.sum(1), torch.ones(len(graph.batch)))
    degree = torch.bincount(graph.edge_index[1], minlength=len(graph.batch))
    rings = data.labels[graph.batch] == data.labels[1]
    assert (degree[rings] == 2).all()


def test_graphs_without_features_get_their_degree(tmp_path, write_tu):
    data = load_graphs(GraphDataConfig(name="tu", dataset="STARS", root=write_tu(tmp_path, "STARS", labels=False)))
    graph = data.graph
    degree = torch.bincount(graph.edge_index[1], minlength=len(graph.batch))
    assert torch.equal(graph.x.argmax(1), degree)


@pytest.mark.parametrize(("name", "files"), [("cora", "ind.cora.x"), ("tu", "MUTAG_A.txt")])
def test_missing_files_say_where_to_put_them(tmp_path, monkeypatch, name, files):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torch_geometric.io.fs.cp", offline)
    with pytest.raises(ConfigError, match="could not be downloaded") as error:
        load_graphs(GraphDataConfig(name=name, root=tmp_path / "data"))
    message = str(error.value)
    assert files in message
    assert os.path.join("data", "Cora" if name == "cora" else "MUTAG", "raw") in message
    assert "\n" not in message
    assert not (tmp_path / "data").exists(), "no empty folders are left behind"


def test_missing_files_are_downloaded_by_pyg(tmp_path, write_planetoid, monkeypatch):
    there = write_planetoid(tmp_path / "web") / "Cora" / "raw"
    monkeypatch.setattr("torch_geometric.io.fs.cp", lambda url, raw: shutil.copy(there / url.rpartition("/")[2], raw))
    assert load_graphs(GraphDataConfig(name="cora", root=tmp_path / "data")).graph.x.size(0) == NODES
    assert sorted(path.name for path in (tmp_path / "data").rglob("*.*")) == sorted(p.name for p in there.iterdir())


def test_a_download_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    def torn(url, raw):
        if url.endswith(".ty"):
            raise OSError("connection reset")
        Path(raw, url.rpartition("/")[2]).write_bytes(b"part")

    monkeypatch.setattr("torch_geometric.io.fs.cp", torn)
    with pytest.raises(ConfigError, match="could not be downloaded"):
        load_graphs(GraphDataConfig(name="cora", root=tmp_path / "data"))
    assert not (tmp_path / "data").exists()
