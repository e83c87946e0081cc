"""Node data by command: one's own file, Amazon, Coauthor, WikiCS, OGB: PyG's tensors, and a line for what is broken."""

import gzip
import json

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import Amazon, Coauthor, WikiCS

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.tasks import load_task

NODES, CLASSES = 120, 3


def read(name, root, *settings):
    return load_task(load_config(None, [f"data.name={name}", f"data.root={root}", *settings]))


def parts(task):
    masks = task.data.train, task.data.validation, task.data.test
    assert int(sum(mask.long() for mask in masks).max()) == 1, "no node is in two parts"
    return [int(mask.sum()) for mask in masks]


def refused(name, root, *said, settings=()):
    with pytest.raises(ConfigError) as caught:
        read(name, root, *settings)
    assert "\n" not in str(caught.value)
    for part in said:
        assert part in str(caught.value)


def draw():
    rng = np.random.default_rng(0)
    x = (rng.random((NODES, 7)) < 0.3) * rng.integers(1, 5, (NODES, 7))
    links = sp.random(NODES, NODES, 0.05, format="csr", random_state=0, dtype=np.float32)
    return x, links, np.arange(NODES) % CLASSES


@pytest.fixture
def write_npz():
    def write(root, folder="Computers", file="amazon_electronics_computers.npz", **changes):
        x, links, y = draw()
        held = {"labels": y}
        for part, matrix in (("adj", links), ("attr", sp.csr_matrix(x.astype(np.float32)))):
            fields = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": matrix.shape}
            held |= {f"{part}_{key}": value for key, value in fields.items()}
        (root / folder / "raw").mkdir(parents=True)
        np.savez(root / folder / "raw" / file, **(held | changes))
        return root

    return write


@pytest.mark.parametrize(
    ("name", "dataset", "file", "theirs"),
    [
        ("amazon", "Computers", "amazon_electronics_computers.npz", Amazon),
        ("amazon", "Photo", "amazon_electronics_photo.npz", Amazon),
        ("coauthor", "Physics", "ms_academic_phy.npz", Coauthor),
    ],
)
def test_amazon_and_coauthor_are_what_pyg_reads(tmp_path, write_npz, name, dataset, file, theirs):
    write_npz(tmp_path, dataset, file)
    task = read(name, tmp_path, f"data.dataset={dataset}", "data.normalize=false")
    assert not (tmp_path / dataset / "processed").exists()
    graph = theirs(str(tmp_path), dataset)[0]
    for key in ("x", "edge_index", "y"):
        assert torch.equal(task.graph[key], graph[key])
    assert parts(task) == [12, 12, 96]
    assert torch.bincount(task.y[task.data.train]).tolist() == [4, 4, 4]
    other = read(name, tmp_path, f"data.dataset={dataset}", "data.split_seed=1")
    assert not torch.equal(task.data.train, other.data.train)
    assert "drawn split of a tenth" in task.protocol()


def test_broken_arrays_are_one_line(tmp_path, write_npz):
    indices = draw()[1].indices.copy()
    indices[3] = NODES
    for i, broken in enumerate(
        ({"adj_indices": indices}, {"labels": np.array([{}] * NODES)}, {"labels": np.arange(5)})
    ):
        refused("amazon", write_npz(tmp_path / str(i), **broken), "computers.npz cannot be read", "replace it")
    refused("amazon", tmp_path, "unknown value 'Books'", "Computers, Photo", settings=["data.dataset=Books"])


@pytest.fixture
def wiki(tmp_path):
    x, links, y = draw()
    draws = np.random.default_rng(1).permuted(np.tile(np.arange(NODES) % 4, (20, 1)), axis=1)
    held = {
        "features": (x - 1.5).tolist(),
        "labels": y.tolist(),
        "links": [links.indices[a:b].tolist() for a, b in zip(links.indptr[:-1], links.indptr[1:], strict=True)],
        "train_masks": ((draws == 0) & (np.arange(NODES) < 90)).tolist(),
        "val_masks": ((draws == 1) & (np.arange(NODES) < 90)).tolist(),
        "stopping_masks": (draws == 2).tolist(),
        "test_mask": (np.arange(NODES) >= 90).tolist(),
    }
    (tmp_path / "WikiCS" / "raw").mkdir(parents=True)
    path = tmp_path / "WikiCS" / "raw" / "data.json"
    path.write_text(json.dumps(held))
    return path, held


def test_wikics_has_its_twenty_splits(tmp_path, wiki):
    path, held = wiki
    graph = WikiCS(str(tmp_path / "WikiCS"), is_undirected=True)[0]
    for split in (0, 19):
        task = read("wikics", tmp_path, f"data.split_seed={split}")
        assert torch.equal(task.data.train, graph.train_mask[:, split])
        assert torch.equal(task.data.validation, graph.val_mask[:, split])
        assert torch.equal(task.data.test, graph.test_mask)
        assert f"{split + 1} of 20 split" in task.protocol()
    assert torch.equal(task.graph.x, graph.x), "features with a sign are not scaled to sum to one"
    path.write_text(json.dumps(held | {"links": [[NODES], *held["links"][1:]]}))
    refused("wikics", tmp_path, "data.json cannot be read", "not among its 120")


def test_a_split_that_is_not_there_is_one_line(tmp_path, wiki):
    refused("wikics", tmp_path, "has 20 splits, use 0 to 19", settings=["data.split_seed=20"])


@pytest.fixture
def own():
    x, links, y = draw()
    edges = torch.from_numpy(np.stack(links.nonzero()).astype(np.int64))
    return Data(x=torch.from_numpy(x).float(), edge_index=edges, y=torch.from_numpy(y))


def test_a_file_of_ones_own_trains_by_command_and_goes_on(tmp_path, own, clgnn):
    torch.save(own.to_dict(), tmp_path / "mine.pt")
    small = ["encoder.width=8", "eval.draws=1", "eval.baselines=false", "trainer.epochs=1", "run_dir=run"]
    code, out, error = clgnn("train", "data.name=nodes", "data.root=mine.pt", *small)
    assert (code, error) == (0, ""), error
    assert "mine" in out
    assert clgnn("evaluate", "run")[0] == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["protocol"].count("12 training") == 1


def test_masks_and_missing_parts_of_a_file_of_ones_own(tmp_path, own):
    path = tmp_path / "mine.pt"
    masks = {"train_mask": torch.arange(NODES) < 30, "val_mask": (torch.arange(NODES) // 30) == 1}
    torch.save(own.to_dict() | masks, path)
    assert parts(read("nodes", path)) == [30, 30, 60]
    torch.save(own.to_dict() | {"train_mask": torch.stack([masks["train_mask"], masks["val_mask"]], 1)}, path)
    assert bool(read("nodes", path, "data.split_seed=1").data.train[30:60].all())
    torch.save({"edge_index": own.edge_index}, path)
    task = read("nodes", path)
    assert not task.labeled
    assert torch.equal(task.graph.x.argmax(1), torch.bincount(own.edge_index[1], minlength=len(task.y)).clamp(max=64))
    refused("nodes", tmp_path / "gone.pt", "is no file")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"edge_index": torch.tensor([[0], [NODES]])}, f"edge_index names node {NODES} of {NODES} nodes"),
        ({"edge_index": torch.tensor([[0], [-1]])}, "edge_index names node -1 of"),
        ({"edge_index": torch.zeros(2, 3)}, "edge_index has torch.float32, expects whole numbers"),
        ({"x": torch.full((NODES, 2), float("nan"))}, "features that are NaN or infinite"),
        ({"y": torch.zeros(3).long()}, "y has the shape (3,)"),
        ([1, 2], "holds no mapping to tensors"),
        (Data(x=torch.ones(2, 2)), "write it by torch.save(data.to_dict(), FILE)"),
    ],
)
def test_a_broken_file_of_ones_own_is_one_line_that_names_it(tmp_path, own, broken, said):
    path = tmp_path / "mine.pt"
    torch.save(own.to_dict() | broken if isinstance(broken, dict) else broken, path)
    refused("nodes", path, "mine.pt", said)


def test_the_tables_of_ogb(tmp_path, own):
    folder = tmp_path / "ogbn_arxiv"
    tables = {
        "raw/edge": own.edge_index.t(),
        "raw/node-feat": own.x - 1,
        "raw/node-label": own.y[:, None],
        "split/time/train": torch.arange(60)[:, None],
        "split/time/valid": torch.arange(60, 90)[:, None],
        "split/time/test": torch.arange(90, NODES)[:, None],
    }
    for name, rows in tables.items():
        path = folder / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()))
    task = read("ogb", tmp_path)
    assert parts(task) == [60, 30, 30]
    assert torch.equal(task.graph.x, own.x - 1)
    assert task.graph.is_undirected()
    refused(
        "ogb", tmp_path, "ogbn_products does not hold", "NodePropPredDataset", settings=["data.dataset=ogbn-products"]
    )
    path.write_bytes(gzip.compress(b"500\n"))
    refused("ogb", tmp_path, "test.csv.gz names a node beyond 119")
