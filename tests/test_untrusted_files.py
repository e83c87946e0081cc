"""Files that the package reads run nothing: a payload at each place that loads."""

import ast
import pickle
import shutil
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cl_as_gnn.config import GraphDataConfig, load_config
from cl_as_gnn.datasets import load_graphs
from cl_as_gnn.datasets.graph_files import PLANETOID_PARTS
from cl_as_gnn.datasets.view_generator import load_generator
from cl_as_gnn.encoders.weights import read_weights
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.registry import DATASETS
from cl_as_gnn.training.fit import train

PACKAGE = Path(__file__).parents[1] / "cl_as_gnn"
# Of PyG's data sets they call the download alone.
DOWNLOADS = ("datasets/graph_files.py", "datasets/node_files.py")
CIFAR = [f"cifar-10-batches-py/{name}" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]
CIFAR += ["cifar-10-batches-py/batches.meta", *(f"cifar-100-python/{name}" for name in ("train", "test", "meta"))]


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path):
    """Made by any payload that runs."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists(), "a file ran code"


@pytest.fixture(scope="module")
def karate(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "karate"
    train(load_config(None, ["data.name=karate", "trainer.epochs=1", "eval.baselines=false", f"run_dir={path}"]))
    return path


@pytest.fixture
def run(karate, tmp_path):
    return Path(shutil.copytree(karate, tmp_path / "run"))


def test_the_payload_of_these_tests_runs_where_it_may(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_checkpoint(clgnn, run, mark, save):
    checkpoint = run / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)
    save(state | {"payload": Payload(mark)}, checkpoint)
    for setting in ("trainer.epochs=2", "eval.knn_k=3"):
        code, _, err = clgnn("train", f"resume={run}", setting)
        assert (code, "cannot be read" in err) == (1, True)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_an_encoder(clgnn, run, mark, save):
    save(Payload(mark), run / "encoder.safetensors")
    for words in (("evaluate", run), ("embed", run, "--out", "features.npz")):
        code, _, err = clgnn(*words)
        assert (code, "cannot be read" in err) == (1, True)


@pytest.mark.parametrize("name", PLANETOID_PARTS)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_raw_file_of_a_citation_graph(tmp_path, write_planetoid, mark, name, protocol):
    file = write_planetoid(tmp_path) / "Cora" / "raw" / f"ind.cora.{name}"
    held = pickle.loads(file.read_bytes()) if name != "test.index" else []
    for value in (Payload(mark), [held, Payload(mark)], {"x": Payload(mark)}):
        file.write_bytes(pickle.dumps(value, protocol))
        with pytest.raises(ConfigError, match=f"{file.name} cannot be read"):
            load_graphs(GraphDataConfig(name="cora", root=tmp_path))


class Addresses:
    """Unpickles to an array of objects at addresses that the file states: numpy follows them."""

    def __reduce__(self):
        return np.ndarray, ((1, 1), np.dtype("O"), b"\x10" * 8)


def test_a_raw_file_reaches_no_class_of_numpy_or_scipy(tmp_path, write_planetoid):
    file = write_planetoid(tmp_path) / "Cora" / "raw" / "ind.cora.allx"
    config, whole = GraphDataConfig(name="cora", root=tmp_path), file.read_bytes()
    # A pickle may set attributes of whatever it names: here csr_matrix.toarray = None, before the matrix itself.
    file.write_bytes(b"cscipy.sparse._csr\ncsr_matrix\n(N(S'toarray'\nNdtb0" + whole)
    load_graphs(config)
    assert sp.csr_matrix(np.eye(2)).toarray().sum() == 2
    file.write_bytes(pickle.dumps(Addresses()))
    with pytest.raises(ConfigError, match=r"ind.cora.allx cannot be read"):
        load_graphs(config)


@pytest.mark.parametrize("name", ["cora", "tu"])
def test_a_processed_copy(tmp_path, write_planetoid, write_tu, mark, name):
    root = (write_planetoid if name == "cora" else write_tu)(tmp_path)
    folder = root / ("Cora" if name == "cora" else "MUTAG") / "processed"
    folder.mkdir()
    for file in ("data.pt", "pre_filter.pt", "pre_transform.pt"):
        torch.save(Payload(mark), folder / file)
    load_graphs(GraphDataConfig(name=name, root=root))


def test_a_table_of_a_set_of_graphs(tmp_path, write_tu, mark):
    raw = write_tu(tmp_path) / "MUTAG" / "raw"
    for file in sorted(raw.iterdir()):
        whole = file.read_bytes()
        for text in (pickle.dumps(Payload(mark)), f"__import__('pathlib').Path({str(mark)!r}).touch()\n".encode()):
            file.write_bytes(text)
            with pytest.raises(ConfigError, match=f"{file.name} cannot be read"):
                load_graphs(GraphDataConfig(name="tu", root=tmp_path))
        file.write_bytes(whole)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_weights_to_start_from_and_a_view_generator(tmp_path, mark, save):
    file = tmp_path / "weights.pth"
    for value in (Payload(mark), {"conv.weight": torch.ones(1), "payload": Payload(mark)}):
        save(value, file)
        with pytest.raises(ConfigError, match=r"weights.pth cannot be read"):
            read_weights(str(file))
        with pytest.raises(ConfigError, match=r"weights.pth"):
            load_generator(str(file))


def test_a_graph_of_ones_own(tmp_path, mark):
    for value in (Payload(mark), {"x": Payload(mark)}):
        torch.save(value, tmp_path / "mine.pt")
        with pytest.raises(ConfigError, match=r"mine.pt holds no mapping to tensors"):
            DATASETS["nodes"].load(load_config(None, ["data.name=nodes", f"data.root={tmp_path / 'mine.pt'}"]).data)


def test_arrays_of_a_graph(tmp_path, mark):
    (tmp_path / "CS" / "raw").mkdir(parents=True)
    np.savez(tmp_path / "CS" / "raw" / "ms_academic_cs.npz", attr_data=np.array([Payload(mark)], object))
    with pytest.raises(ConfigError, match=r"ms_academic_cs.npz cannot be read"):
        load_graphs(load_config(None, ["data.name=coauthor", f"data.root={tmp_path}"]).data)


def test_yaml_and_json(clgnn, run, mark, tmp_path):
    bad = f"seed: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark!s}]]\n"
    (tmp_path / "bad.yaml").write_text(bad)
    assert clgnn("train", "bad.yaml")[0] == 2
    assert clgnn("compare", "bad.yaml")[0] == 2
    assert clgnn("train", bad.strip().replace(": ", "=", 1))[0] == 2
    (run / "metrics.json").write_bytes(pickle.dumps(Payload(mark)))
    assert clgnn("report", run)[0] == 1
    (run / "config.yaml").write_text(bad)
    for words in (("evaluate", run), ("train", f"resume={run}"), ("report", run)):
        assert clgnn(*words)[0] == 2


def test_a_callback_in_a_run_folder(clgnn, run, mark, monkeypatch):
    """Its name is that of an importable module: what lies in the folder is none, and only training makes callbacks."""
    code = f"from pathlib import Path; Path({str(mark)!r}).touch()\nclass Mine: ...\n"
    (run / "payload.py").write_text(code)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("  callbacks: []", "  callbacks: [{class: 'payload:Mine'}]"))
    assert "payload:Mine" in (run / "config.yaml").read_text()
    (run / "metrics.json").unlink()
    code, _, err = clgnn("train", f"resume={run}", "trainer.epochs=2")
    assert (code, "payload" in err) == (1, True)  # the checkpoint is of a run without it
    (run / "checkpoints" / "last.ckpt").unlink()
    for words in (("report", run), ("embed", run, "--out", "features.npz"), ("evaluate", run)):
        clgnn(*words)
    code, _, err = clgnn("train", f"run_dir={run.parent / 'new'}", "trainer.callbacks=['payload:Mine']")
    assert (code, "No module named 'payload'" in err) == (2, True)


@pytest.mark.parametrize("name", ["given", "given_nodes"])
def test_the_data_that_a_run_keeps_of_a_python_session(tmp_path, mark, name):
    torch.save(Payload(mark), tmp_path / "data.safetensors")
    config = load_config(None, [f"data.name={name}", "data.content=x", f"data.root={tmp_path / 'data.safetensors'}"])
    with pytest.raises(RunError, match=r"data.safetensors cannot be read .*: pass the data of the run again"):
        DATASETS[name].load(config.data)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_batches_of_cifar(clgnn, tmp_path, mark, monkeypatch, name):
    """torchvision unpickles them, after it has compared their MD5 sums with those of the published files."""

    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", offline)
    for file in CIFAR:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(pickle.dumps(Payload(mark)))
    code, _, err = clgnn("train", f"data.name={name}", f"data.root={tmp_path}")
    assert (code, "could not be downloaded" in err) == (2, True)


def calls(tree):
    return [
        (ast.unparse(n.func), {ast.unparse(w) for w in n.keywords}) for n in ast.walk(tree) if isinstance(n, ast.Call)
    ]


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_that_loads_can_run_a_file(path):
    """Weights only, arrays without pickles, YAML in its safe form; one unpickler; PyG's data sets unpickle copies."""
    tree, name = ast.parse(path.read_text()), path.relative_to(PACKAGE).as_posix()
    for call, words in calls(tree):
        assert call != "torch.load" or "weights_only=True" in words
        assert not call.endswith(".fit") or "weights_only=True" in words or not any("ckpt" in word for word in words)
        assert not call.startswith("yaml.") or call in ("yaml.safe_load", "yaml.safe_dump")
        assert not any(word.startswith(("allow_pickle", "weights_only=False")) for word in words)
        assert call not in ("eval", "exec") or name == "light.py", "light.py runs installed modules alone"
    for module in imports(tree):
        assert module.partition(".")[0] not in ("pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle") or (
            name == "datasets/graph_files.py"
        )
        if module.startswith("torch_geometric.datasets.") and name not in DOWNLOADS:
            assert module == "torch_geometric.datasets.KarateClub", "it reads no file"
