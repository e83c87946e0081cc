"""The benchmarks of this checkout, and files of graph data sets, small enough for tests, as their publishers lay them
out."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

# `import benchmarks` is the folder beside these tests, which is not installed and need not be on the path.
_FOLDER = Path(__file__).parents[1] / "benchmarks"
_SPEC = importlib.util.spec_from_file_location(
    "benchmarks", _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
)
sys.modules["benchmarks"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules["benchmarks"])

CLASSES, NODES, TEST, TRAIN, FEATURES = 3, 700, 100, 30, 24


@pytest.fixture(scope="session")
def write_planetoid():
    return _write_planetoid


@pytest.fixture(scope="session")
def write_tu():
    return _write_tu


def _write_planetoid(root: Path, name: str = "Cora") -> Path:
    """``root/<name>/raw/ind.<name>.*``: 700 nodes of three communities, 30 / 500 / 100 of them split; returns root."""
    rng = np.random.default_rng(0)
    label = np.arange(NODES) % CLASSES
    own = np.arange(FEATURES) % CLASSES == label[:, None]
    x = (rng.random((NODES, FEATURES)) < np.where(own, 0.35, 0.1)).astype(np.float32)
    x[0] = 0
    graph = {i: [] for i in range(NODES)}
    for i in range(NODES):
        same = rng.choice(np.flatnonzero(label == label[i]), 3)
        for j in (*same, rng.integers(NODES)):
            graph[i].append(int(j))
            graph[int(j)].append(i)
    onehot = np.eye(CLASSES, dtype=np.int32)[label]
    rest = NODES - TEST
    parts = {
        "x": sp.csr_matrix(x[:TRAIN]),
        "y": onehot[:TRAIN],
        "allx": sp.csr_matrix(x[:rest]),
        "ally": onehot[:rest],
        "tx": sp.csr_matrix(x[rest:]),
        "ty": onehot[rest:],
        "graph": graph,
    }
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for key, value in parts.items():
        (raw / f"ind.{name.lower()}.{key}").write_bytes(pickle.dumps(value))
    (raw / f"ind.{name.lower()}.test.index").write_text("".join(f"{i}\n" for i in range(rest, NODES)))
    return root


def _write_tu(root: Path, name: str = "MUTAG", graphs: int = 40, labels: bool = True) -> Path:
    """``root/<name>/raw/<name>_*.txt``: rings (class 1) and stars (class −1) of 5 to 9 nodes; returns root."""
    rng = np.random.default_rng(0)
    edges, indicator, first = [], [], 1
    for g in range(graphs):
        size = int(rng.integers(5, 10))
        for i in range(size):
            other = (i + 1) % size if g % 2 else 0
            if i != other:
                edges += [(first + i, first + other), (first + other, first + i)]
        indicator += [g + 1] * size
        first += size
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    (raw / f"{name}_A.txt").write_text("".join(f"{a}, {b}\n" for a, b in edges))
    (raw / f"{name}_graph_indicator.txt").write_text("".join(f"{g}\n" for g in indicator))
    (raw / f"{name}_graph_labels.txt").write_text("".join(f"{1 if g % 2 else -1}\n" for g in range(graphs)))
    if labels:
        node = rng.integers(0, 3, len(indicator))
        node[:3] = range(3)
        (raw / f"{name}_node_labels.txt").write_text("".join(f"{v}\n" for v in node))
    return root
