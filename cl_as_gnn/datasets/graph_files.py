"""Raw files of graphs, read without running what they hold, and checked before anything is trained on them.

PyG's readers unpickle the files of Planetoid with ``pickle.load``, which runs whatever a file names, and its data sets
load processed copies in the same way. Here nothing is unpickled but numbers and containers, and no copy is kept.
"""

from __future__ import annotations

import builtins
import collections
import pickle
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid, TUDataset
from torch_geometric.utils import coalesce, index_to_mask, one_hot, remove_self_loops

from cl_as_gnn.errors import ConfigError

PLANETOID_PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")
_VALIDATION = 500  # nodes of the public split, right after the training nodes
_CURE = "replace it with the original file"


def read_planetoid(root: Path, name: str) -> Data:
    """Read a citation graph with its public split from ``root/name/raw``, the same tensors as PyG's ``Planetoid``.

    Raises:
        ConfigError: a file is missing and cannot be downloaded, is broken, or does not fit the others.
    """
    raw = root / name / "raw"
    file = {part: raw / f"ind.{name.lower()}.{part}" for part in PLANETOID_PARTS}
    described = f"the eight files ind.{name.lower()}.x, .tx, .allx, .y, .ty, .ally, .graph and .test.index"
    ensure_files(root, name, [path.name for path in file.values()], described, _Planetoid)
    x, y, tx, ty, allx, ally = (_matrix(file[part]) for part in PLANETOID_PARTS[:6])
    for part, value, like in (("tx", tx, x), ("allx", allx, x), ("ty", ty, y), ("ally", ally, y)):
        widths = f"has {value.size(1)} columns, and ind.*.{part[-1]} has {like.size(1)}"
        check_file(value.size(1) == like.size(1), file[part], widths)
    for part, value, like in (("y", y, x), ("ty", ty, tx), ("ally", ally, allx)):
        check_file(len(value) == len(like), file[part], f"has {len(value)} rows, and the features have {len(like)}")
    held = len(y) + _VALIDATION
    check_file(len(allx) >= held, file["allx"], f"has {len(allx)} rows, and the public split expects at least {held}")
    check_file(len(y.argmax(1).unique()) > 1, file["y"], "holds training nodes of one class only")

    test, graph = read_integers(file["test.index"], 1).view(-1), _graph(file["graph"])
    check_file(len(test) == len(tx), file["test.index"], f"names {len(test)} nodes, and ind.*.tx has {len(tx)}")
    check_file(len(test.unique()) == len(test), file["test.index"], "names a node twice")
    first = f"begins at node {int(test.min())}, and ind.*.allx ends before node {len(allx)}"
    check_file(int(test.min()) == len(allx), file["test.index"], first)
    unknown = set(test.tolist()) - graph.keys()
    check_file(not unknown, file["test.index"], f"names the node {min(unknown, default=0)}, which ind.*.graph lacks")
    n = int(test.max()) + 1  # CiteSeer has nodes between the test nodes that no file describes: zeros
    features, classes = allx.new_zeros(n, x.size(1)), ally.new_zeros(n, y.size(1))
    features[: len(allx)], classes[: len(allx)] = allx, ally
    features[test], classes[test] = tx, ty

    pairs = [(node, other) for node, near in graph.items() for other in near]
    check_file(len(pairs) > 0, file["graph"], "holds no edges")
    low, high = min(map(min, pairs)), max(map(max, pairs))
    check_file(low >= 0 and high < n, file["graph"], f"has edges of nodes {low} to {high}, and there are {n} nodes")
    edge_index, _ = remove_self_loops(torch.tensor(pairs).t())
    edge_index = coalesce(edge_index, num_nodes=n, sort_by_row=False)
    masks = {
        "train_mask": index_to_mask(torch.arange(len(y)), size=n),
        "val_mask": index_to_mask(torch.arange(len(y), held), size=n),
        "test_mask": index_to_mask(test, size=n),
    }
    return Data(x=features, edge_index=edge_index, y=classes.max(dim=1)[1], **masks)


def read_tu(root: Path, name: str) -> tuple[Data, Tensor]:
    """Read the graphs of a TUDataset from ``root/name/raw`` as one disconnected graph, and their classes ``(G,)``.

    ``edge_index`` is sorted and without self-loops, ``batch`` the graph of each node, and ``x`` the one-hot labels of
    the nodes or, without any, ``None``: the same tensors as those of PyG's ``TUDataset``. Attributes are not read.

    Raises:
        ConfigError: a file is missing and cannot be downloaded, is broken, or does not fit the others.
    """
    raw = root / name / "raw"
    files = [f"{name}_{part}.txt" for part in ("A", "graph_indicator", "graph_labels")]
    ensure_files(root, name, files, f"{name}_A.txt and its other files", _TU)
    edges_file, batch_file, labels_file = (raw / file for file in files)
    edge_index, batch = read_integers(edges_file, 2).t() - 1, read_integers(batch_file, 1).view(-1) - 1
    labels = read_integers(labels_file, 1).view(-1).unique(return_inverse=True)[1]
    step = batch.diff()
    ordered = int(batch[0]) == 0 and bool(((step == 0) | (step == 1)).all())
    check_file(ordered, batch_file, "does not number the graphs 1, 2, 3, … in the order of their nodes")
    count = int(batch[-1]) + 1
    check_file(
        len(labels) == count, labels_file, f"has {len(labels)} rows, and {batch_file.name} numbers {count} graphs"
    )
    check_file(int(labels.max()) > 0, labels_file, "holds graphs of one class only")
    low, high = int(edge_index.min()) + 1, int(edge_index.max()) + 1
    inside = low >= 1 and high <= len(batch)
    check_file(inside, edges_file, f"has edges of nodes {low} to {high}, and {batch_file.name} has {len(batch)} nodes")
    apart = bool((batch[edge_index[0]] == batch[edge_index[1]]).all())
    check_file(apart, edges_file, "has an edge between two graphs")
    edge_index = coalesce(remove_self_loops(edge_index)[0], num_nodes=len(batch))
    return Data(x=_node_labels(raw / f"{name}_node_labels.txt", len(batch)), edge_index=edge_index, batch=batch), labels


def _node_labels(path: Path, nodes: int) -> Tensor | None:
    if not path.is_file():
        return None
    columns = read_integers(path)
    check_file(len(columns) == nodes, path, f"has {len(columns)} rows, and there are {nodes} nodes")
    columns = columns - columns.min(dim=0)[0]
    check_file(int(columns.max()) < 2**16, path, f"has labels that differ by {int(columns.max())}")
    return torch.cat([one_hot(column) for column in columns.unbind(1)], dim=1)


def check_file(holds: bool, path: Path, wrong: str) -> None:
    if not holds:
        raise ConfigError(f"{path} {wrong}: {_CURE}")


def read_file(path: Path, read: Callable[[], Any]) -> Any:
    """What ``read`` returns; a broken file may raise anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy, about an empty file: it is an error here
            return read()
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ConfigError(f"{path} cannot be read ({reason}): {_CURE}") from None


def read_integers(path: Path, columns: int | None = None) -> Tensor:
    """Lines of whole numbers ``(n, columns)``, separated by commas."""
    # numpy before 2 reads 1.5 and NaN as whole numbers, if told to read those.
    table = read_file(path, lambda: np.loadtxt(path, np.float64, comments=None, delimiter=",", ndmin=2))
    check_file(table.size > 0, path, "is empty")
    check_file(
        columns in (None, table.shape[1]), path, f"has {table.shape[1]} numbers a line where {columns} are expected"
    )
    check_file(
        bool((abs(table) < 2**53).all() and (table == table.round()).all()), path, "holds more than whole numbers"
    )
    return torch.from_numpy(table.astype(np.int64))


def _matrix(path: Path) -> Tensor:
    """A pickled matrix as float32 ``(n, d)``."""
    value = read_file(path, lambda: _dense(_unpickled(path)))
    check_file(value.ndim == 2 and value.size > 0, path, f"holds an array of shape {value.shape}, no matrix")
    check_file(bool(np.isfinite(value).all()), path, "holds NaN or infinity")
    return torch.from_numpy(value)


def _graph(path: Path) -> dict[int, list[int]]:
    """A pickled mapping from a node to its neighbors."""
    graph = read_file(path, lambda: _unpickled(path))
    check_file(isinstance(graph, dict), path, "holds no mapping from a node to its neighbors")
    lists = all(isinstance(near, list) for near in graph.values())
    whole = lists and all(type(node) is int for node, near in graph.items() for node in (node, *near))
    check_file(whole, path, "does not map whole numbers to lists of whole numbers")
    return dict(graph)


class _DType:
    """Stands for ``numpy.dtype``, of numbers only."""

    order = "="

    def __init__(self, code: str, *flags: bool):
        self.code = code

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def array(self, raw: bytes | str, shape: Any, fortran: bool = False) -> Any:
        if not re.fullmatch(r"[<>=|](b1|[iu][1248]|f[248])", kind := self.order + self.code):
            raise pickle.UnpicklingError(f"it holds an array of type {self.code}")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")


class _Array:
    """Stands for ``numpy.ndarray`` as pickles up to protocol 4 build it."""

    def __init__(self, *empty: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.value = dtype.array(raw, shape, fortran)


class _Sparse:
    """Stands for a compressed sparse matrix of scipy, whose attributes a pickle sets."""


def _dense(value: Any) -> Any:
    """The float32 array of what was read in place of an array or a sparse matrix."""
    if isinstance(value, _Sparse):
        build = sp.csr_matrix if type(value).__name__.startswith("csr") else sp.csc_matrix
        held = vars(value)
        data, indices, indptr = (held[key].value for key in ("data", "indices", "indptr"))
        matrix = build((data, indices, indptr), shape=held["_shape"])
        matrix.check_format(full_check=True)  # scipy writes outside its memory where an index is wrong
        return matrix.toarray().astype(np.float32)
    if not isinstance(value, _Array):
        raise TypeError(f"it holds {type(value).__name__}, no matrix")
    return value.value.astype(np.float32)


class _Unpickler(pickle.Unpickler):
    """Admits arrays of numbers, compressed sparse matrices and containers.

    In place of numpy's and scipy's classes it hands out records of its own, new ones for each name: a pickle can make
    numpy follow the addresses that it puts into an array of objects, and set attributes of a class.
    """

    def find_class(self, module: str, name: str) -> Any:
        package = module.partition(".")[0]
        if module in ("builtins", "__builtin__") and name in ("dict", "list"):
            return getattr(builtins, name)
        if (module, name) == ("collections", "defaultdict"):
            return collections.defaultdict
        if package == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return type(name, (_DType if name == "dtype" else _Array,), {})
        if package == "numpy" and name == "_frombuffer":  # protocol 5
            return type(name, (_Array,), {"__init__": _from_buffer})
        if package == "scipy" and re.fullmatch(r"cs[rc]_(matrix|array)", name):
            return type(name, (_Sparse,), {})
        if (module, name) == ("_codecs", "encode"):  # bytes in protocol 2, as Python 3 writes them
            return lambda text, coding: text.encode("latin1")
        raise pickle.UnpicklingError(f"it names {module}.{name}, and only arrays and containers of numbers are read")


def _from_buffer(self: Any, raw: bytes, dtype: _DType, shape: Any, order: str) -> None:
    self.value = dtype.array(raw, shape, order == "F")


def _unpickled(path: Path) -> Any:
    with path.open("rb") as file:
        return _Unpickler(file, encoding="latin1").load()


class _Planetoid(Planetoid):  # type: ignore[misc]
    """PyG's download, without its reader."""

    def __init__(self, root: str, name: str):
        self.root, self.name, self.split = root, name, "public"


class _TU(TUDataset):  # type: ignore[misc]
    """PyG's download, without its reader."""

    def __init__(self, root: str, name: str):
        self.root, self.name, self.cleaned = root, name, False


def ensure_files(
    root: Path, name: str, files: Sequence[str], described: str, source: Callable[[str, str], Any]
) -> None:
    """Download the raw files if there are none; ConfigError if that fails or only some are there."""
    raw = root / name / "raw"
    missing = [file for file in files if not (raw / file).is_file()]
    if not missing:
        return
    if len(missing) < len(files):
        cure = "put it there, or remove the others to download all of them"
        raise ConfigError(f"{raw} lacks {', '.join(missing)}: {cure}")
    try:
        with TemporaryDirectory(prefix="clgnn-") as folder, redirect_stderr(StringIO()):
            fetched = Path(folder, name, "raw")
            fetched.mkdir(parents=True)
            source(folder, name).download()
            shutil.copytree(fetched, raw, dirs_exist_ok=True)
    except Exception as error:  # what PyG raises depends on the network
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ConfigError(
            f"{name} is not under data.root={root} and could not be downloaded ({reason}): put {described} into {raw}"
        ) from error
