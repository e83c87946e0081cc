"""Raw files of graphs: the tensors of PyG's readers, and one line for each way to be broken."""

import pickle
import shutil
import struct
from io import BytesIO

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.data import Batch
from torch_geometric.datasets import Planetoid, TUDataset

from cl_as_gnn.config import load_config
from cl_as_gnn.datasets.graph_files import PLANETOID_PARTS, read_planetoid, read_tu
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.tasks import load_task

PICKLED = PLANETOID_PARTS[:-1]


@pytest.fixture(scope="module")
def cora(tmp_path_factory, write_planetoid):
    return write_planetoid(tmp_path_factory.mktemp("cora"))


def part(root, name, dataset="Cora"):
    return root / dataset / "raw" / f"ind.{dataset.lower()}.{name}"


def python2(value):
    """A pickle as Python 2, numpy 1 and scipy 0.x wrote the published files: byte strings and old module paths."""

    def save_string(pickler, text):
        raw = text if isinstance(text, bytes) else text.encode()
        pickler.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)

    out = BytesIO()
    pickler = pickle._Pickler(out, protocol=2)
    pickler.dispatch = {**pickle._Pickler.dispatch, bytes: save_string, str: save_string}
    pickler.dump(value)
    return out.getvalue().replace(b"scipy.sparse._csr\n", b"scipy.sparse.csr\n").replace(b"numpy._core", b"numpy.core")


def rewrite(path, change, dumps=pickle.dumps):
    path.write_bytes(dumps(change(pickle.loads(path.read_bytes()))))


def same(one, two):
    assert sorted(one.keys()) == sorted(two.keys())
    assert all(one[key].dtype == two[key].dtype and torch.equal(one[key], two[key]) for key in two.to_dict())


@pytest.mark.parametrize("dumps", [python2, *(lambda v, p=p: pickle.dumps(v, p) for p in (2, 3, 4, 5))])
def test_planetoid_is_what_pyg_reads(tmp_path, write_planetoid, dumps):
    write_planetoid(tmp_path)
    for name in PICKLED:
        rewrite(part(tmp_path, name), lambda value: value, dumps)
    graph = read_planetoid(tmp_path, "Cora")
    assert not (tmp_path / "Cora" / "processed").exists()
    same(graph, Planetoid(str(tmp_path), "Cora")[0])


def test_nodes_that_citeseer_leaves_out_are_zeros(tmp_path, write_planetoid):
    write_planetoid(tmp_path, "CiteSeer")
    rng, index = np.random.default_rng(0), part(tmp_path, "test.index", "CiteSeer")
    test = [int(line) for line in index.read_text().split()]
    kept = rng.permutation([i for i in range(len(test)) if i not in (3, 50, 51)])
    index.write_text("".join(f"{test[i]}\n" for i in kept))
    for name in ("tx", "ty"):
        rewrite(part(tmp_path, name, "CiteSeer"), lambda value: value[kept])
    graph = read_planetoid(tmp_path, "CiteSeer")
    assert graph.x[test[50]].count_nonzero() == 0
    same(graph, Planetoid(str(tmp_path), "CiteSeer")[0])


@pytest.mark.parametrize(("labels", "attributes"), [(True, False), (False, False), (True, True)])
def test_tu_is_what_pyg_reads(tmp_path, write_tu, labels, attributes):
    write_tu(tmp_path, labels=labels)
    raw = tmp_path / "MUTAG" / "raw"
    if attributes:
        nodes = len((raw / "MUTAG_graph_indicator.txt").read_text().splitlines())
        (raw / "MUTAG_node_attributes.txt").write_text("".join(f"{i / 7}, {-i}\n" for i in range(nodes)))
    edges = raw / "MUTAG_A.txt"
    edges.write_text(edges.read_text() + "2, 2\n1, 2\n")
    graph, classes = read_tu(tmp_path, "MUTAG")
    assert not (tmp_path / "MUTAG" / "processed").exists()
    theirs = Batch.from_data_list(list(TUDataset(str(tmp_path), "MUTAG")))
    assert torch.equal(classes, theirs.y)
    assert torch.equal(graph.edge_index, theirs.edge_index)
    assert torch.equal(graph.batch, theirs.batch)
    assert graph.x is None if theirs.x is None else torch.equal(graph.x, theirs.x)


def test_a_processed_copy_does_not_hide_the_raw_files(tmp_path, write_planetoid):
    write_planetoid(tmp_path)
    Planetoid(str(tmp_path), "Cora")
    rewrite(part(tmp_path, "y"), lambda y: y[:, ::-1])
    rewrite(part(tmp_path, "ally"), lambda y: y[:, ::-1])
    rewrite(part(tmp_path, "ty"), lambda y: y[:, ::-1])
    assert read_planetoid(tmp_path, "Cora").y.tolist() == [2 - i % 3 for i in range(700)]


def matrix(at, value):
    def change(x):
        x = x.toarray() if sp.issparse(x) else x.astype(np.float32)
        x[at] = value
        return sp.csr_matrix(x)

    return change


def bad_csr(**fields):
    def change(x):
        for name, value in fields.items():
            setattr(x, name, value(getattr(x, name)))
        return x

    return change


def edges(change):
    return lambda graph: {**graph, **change}


PLANETOID_BYTES = {
    **{f"{name} missing": (name, None) for name in PLANETOID_PARTS},
    **{f"{name} empty": (name, lambda raw: b"") for name in PLANETOID_PARTS},
    **{f"{name} truncated": (name, lambda raw: raw[: len(raw) // 2]) for name in PLANETOID_PARTS},
    **{f"{name} garbage": (name, lambda raw: b"\x93torn\xff\n") for name in PLANETOID_PARTS},
    "test node twice": ("test.index", lambda raw: raw.replace(b"601\n", b"600\n")),
    "test node outside": ("test.index", lambda raw: raw.replace(b"699\n", b"700\n")),
    "test node far outside": ("test.index", lambda raw: raw.replace(b"699\n", b"6990000000000\n")),
    "test node of the training set": ("test.index", lambda raw: raw.replace(b"600\n", b"0\n")),
    "test nodes too few": ("test.index", lambda raw: raw.replace(b"699\n", b"")),
    "test nodes in words": ("test.index", lambda raw: raw.replace(b"699\n", b"last\n")),
    "test nodes in pairs": ("test.index", lambda raw: raw.replace(b"\n", b",1\n")),
}
PLANETOID_HELD = {
    "x holds a mapping": ("x", lambda x: {}),
    "graph holds a matrix": ("graph", lambda graph: np.eye(3)),
    "graph of lists": ("graph", lambda graph: [[1], [0]]),
    "graph of numbers": ("graph", lambda graph: {0: 1}),
    "graph of names": ("graph", lambda graph: {0: ["1"]}),
    "graph of fractions": ("graph", edges({0: [1.5]})),
    "graph without edges": ("graph", lambda graph: {node: [] for node in graph}),
    "edge above the nodes": ("graph", edges({0: [700]})),
    "edge below zero": ("graph", edges({0: [-1]})),
    "edge of a huge node": ("graph", edges({0: [2**70]})),
    "node above the nodes": ("graph", edges({700: [0]})),
    "NaN in allx": ("allx", matrix((0, 0), np.nan)),
    "NaN in tx": ("tx", matrix((-1, -1), np.nan)),
    "infinity in x": ("x", matrix((0, 0), np.inf)),
    "NaN in ally": ("ally", matrix((0, 0), np.nan)),
    "one class": ("y", lambda y: np.eye(3, dtype=np.int32)[np.zeros(len(y), int)]),
    "vector of labels": ("ally", lambda y: y.argmax(1)),
    "other width of tx": ("tx", lambda x: x[:, 1:]),
    "other width of ally": ("ally", lambda y: y[:, 1:]),
    "other height of ty": ("ty", lambda y: y[1:]),
    "other height of ally": ("ally", lambda y: y[1:]),
    "no columns": ("x", lambda x: sp.csr_matrix((x.shape[0], 0))),
    "array of objects": ("y", lambda y: y.astype(object)),
    "array of complex numbers": ("y", lambda y: y.astype(complex)),
    "array of text": ("y", lambda y: y.astype(str)),
    "column index outside": ("allx", bad_csr(indices=lambda i: i + 24)),
    "column index below zero": ("allx", bad_csr(indices=lambda i: i - 24)),
    "row pointer outside": ("allx", bad_csr(indptr=lambda i: i * 2)),
    "short data": ("allx", bad_csr(data=lambda d: d[:5])),
    "huge shape": ("allx", bad_csr(_shape=lambda s: (2**60, 2**60))),
    "another format": ("allx", lambda x: x.tocoo()),
}


def break_file(path, change):
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))


def refused(name, root, file):
    with pytest.raises(ConfigError) as error:
        load_task(load_config(None, [f"data.name={name}", f"data.root={root}"]))
    message = str(error.value)
    assert "\n" not in message
    assert file in message
    assert message.count(": ") >= 1, "the cure follows"
    return message


@pytest.mark.parametrize("case", [*PLANETOID_BYTES, *PLANETOID_HELD])
def test_a_broken_citation_graph_is_one_line(tmp_path, cora, case):
    shutil.copytree(cora, tmp_path, dirs_exist_ok=True)
    if case in PLANETOID_BYTES:
        name, change = PLANETOID_BYTES[case]
        break_file(part(tmp_path, name), change)
    else:
        name, change = PLANETOID_HELD[case]
        rewrite(part(tmp_path, name), change)
    refused("cora", tmp_path, "ind.cora.")


def line(number, text):
    def change(raw):
        lines = raw.decode().splitlines()
        lines[number] = text
        return ("\n".join(lines) + "\n").encode()

    return change


NEEDED = ("A", "graph_indicator", "graph_labels")
TU_BROKEN = {
    **{f"{name} missing": (name, None) for name in NEEDED},
    **{f"{name} empty": (name, lambda raw: b"") for name in (*NEEDED, "node_labels")},
    **{f"{name} garbage": (name, lambda raw: b"\x93torn\xff\n") for name in (*NEEDED, "node_labels")},
    **{f"{name} NaN": (name, line(0, "nan")) for name in (*NEEDED, "node_labels")},
    "A truncated": ("A", lambda raw: raw[:200].rstrip(b"\n0123456789")),
    **{f"{name} truncated": (name, lambda raw: raw[:40]) for name in (*NEEDED[1:], "node_labels")},
    "edge above the nodes": ("A", line(0, "1, 100000")),
    "edge of node zero": ("A", line(0, "0, 1")),
    "edge between graphs": ("A", line(0, "1, 200")),
    "edge with one end": ("A", line(0, "1")),
    "edge with three ends": ("A", line(0, "1, 2, 3")),
    "fraction of a node": ("A", line(0, "1.5, 2")),
    "first graph missing": ("graph_indicator", lambda raw: b"".join(b"%d\n" % (int(i) + 1) for i in raw.split())),
    "graph without nodes": ("graph_indicator", line(-1, "42")),
    "graphs out of order": ("graph_indicator", line(-1, "1")),
    "one class": ("graph_labels", lambda raw: b"1\n" * 40),
    "a class of one graph": ("graph_labels", lambda raw: b"1\n" * 39 + b"0\n"),
    "too few of every class to validate": ("graph_labels", lambda raw: b"".join(b"%d\n" % (i % 20) for i in range(40))),
    "labels in pairs": ("graph_labels", lambda raw: b"1, 2\n" * 40),
    "huge node label": ("node_labels", line(0, str(10**12))),
}


@pytest.mark.parametrize("case", TU_BROKEN)
def test_a_broken_set_of_graphs_is_one_line(tmp_path, write_tu, case):
    name, change = TU_BROKEN[case]
    path = write_tu(tmp_path) / "MUTAG" / "raw" / f"MUTAG_{name}.txt"
    break_file(path, change)
    refused("tu", tmp_path, "class" if "every class" in case or "of one graph" in case else "MUTAG_")


def test_the_validation_nodes_of_the_public_split_are_no_test_nodes(tmp_path, write_planetoid):
    write_planetoid(tmp_path)
    for name in ("allx", "ally"):
        rewrite(part(tmp_path, name), lambda value: value[:529])
    assert "has 529 rows, and the public split expects at least 530" in refused("cora", tmp_path, "ind.cora.allx")


def test_mended_files_are_read(tmp_path, write_planetoid):
    path = part(write_planetoid(tmp_path), "tx")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert str(path) in refused("cora", tmp_path, "ind.cora.tx")
    path.write_bytes(whole)
    assert load_task(load_config(None, ["data.name=cora", f"data.root={tmp_path}"])).size == 700


def test_a_broken_file_costs_one_line_and_no_run_folder(clgnn, tmp_path, write_planetoid):
    part(write_planetoid(tmp_path), "allx").write_bytes(b"torn")
    code, _, err = clgnn("train", "data.name=cora", f"data.root={tmp_path}", "run_dir=run")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert not (tmp_path / "run").exists()
