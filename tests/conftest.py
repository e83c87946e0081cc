"""Shared set-ups: the benchmarks of this checkout, small runs, the command line, graph data sets on disk, fake GPU."""

import importlib.util
import os
import pickle
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

if _workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # before torch is imported: they share the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(_workers))))

os.environ["CLGNN_CACHE"] = "none"  # a test leaves nothing in the user's cache folder

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cl_as_gnn import cli
from cl_as_gnn.cli.common import console
from cl_as_gnn.config import DataConfig, load_config
from cl_as_gnn.datasets import DATASETS, ImageData, ImageDataset, Split, load_images
from cl_as_gnn.nn.operators import adjacency
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.training.fit import continue_run, train
from cl_as_gnn.training.module import ContrastiveModule

# `import benchmarks` is the folder beside these tests, which is not installed and need not be on the path.
_FOLDER = Path(__file__).parents[1] / "benchmarks"
_SPEC = importlib.util.spec_from_file_location(
    "benchmarks", _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
)
sys.modules["benchmarks"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules["benchmarks"])

sys.path.insert(0, str(Path(__file__).parent / "shared"))  # for `import forked`

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


class FakeGPU:
    """Fake tensors have the device of a GPU, shapes and types, and no values.

    Whatever waits for the device cannot run on them: a branch on a value, ``.item()``, a shape that depends on values.
    Within ``running`` a tensor on the host, or sent there and back, is an error too.
    """

    device = torch.device("cuda", 0)

    def __init__(self):
        self.mode = FakeTensorMode()

    def empty(self, *shape, dtype=torch.float32, requires_grad=False):
        with self.mode:
            return torch.empty(shape, dtype=dtype, device=self.device, requires_grad=requires_grad)

    def move(self, module):
        """All that a module holds."""
        for part in module.modules():
            for store in (part._parameters, part._buffers):
                for name, tensor in store.items():
                    if tensor is None:
                        continue
                    fake = self.mode.from_tensor(tensor.detach())
                    with self.mode:
                        fake = fake.to(self.device)
                        parameter = isinstance(tensor, torch.nn.Parameter)
                        store[name] = torch.nn.Parameter(fake, tensor.requires_grad) if parameter else fake
        return module

    def running(self, function, *args, **kwargs):
        """What ``function`` returns on the device."""
        with self.mode, _OnTheDevice():
            return function(*args, **kwargs)

    @contextmanager
    def mixed(self):
        """Autocast to bfloat16, which ``torch.autocast`` leaves off where it finds no GPU."""
        torch.set_autocast_dtype("cuda", torch.bfloat16)
        torch.set_autocast_enabled("cuda", True)
        try:
            yield
        finally:
            torch.set_autocast_enabled("cuda", False)
            torch.clear_autocast_cache()


class _OnTheDevice(TorchDispatchMode):
    """Refuses every operator that touches a tensor of the host, single numbers apart."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
        moved = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        assert all(t.device == FakeGPU.device or (t.dim() == 0 and not moved) for t in tensors), f"{func} on the host"
        return out


@pytest.fixture
def fake_gpu(monkeypatch):
    # Of a sparse product no fake is made; it does not wait, and its result has this shape.
    monkeypatch.setattr(adjacency, "_multiply", lambda ptr, index, value, x: x.new_empty(ptr.numel() - 1, x.size(1)))
    return FakeGPU()


SMALL = [
    *("encoder.width=8", "encoder.projector_hidden=32", "encoder.projector_dim=16", "trainer.epochs=3"),
    *("eval.baselines=false", "eval.draws=2", "eval.online_size=300"),
]


@pytest.fixture(scope="session")
def small():
    """Settings of a run of seconds on the digits."""
    return SMALL


@pytest.fixture(scope="session")
def configure(small):
    """The config of a small run in a folder, with settings over it."""
    return lambda path, *settings: load_config(None, [*small, f"run_dir={path}", *settings])


@pytest.fixture(scope="session")
def weights():
    """The weights in the checkpoint of a run."""
    return lambda path: torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="session")
def same_numbers(weights):
    """Asserts that two runs have equal weights, memories, encoder files and rows of each epoch but for the seconds."""

    def rows(path):
        return [{**row, "seconds": ""} for row in open_run(path).read_history()]

    def check(one, two):
        states = weights(one), weights(two)
        assert states[0].keys() == states[1].keys()
        for key in states[0]:
            pairs = zip(*(tree_leaves(state[key]) for state in states), strict=True)
            assert all(a is b is None or torch.equal(a, b) for a, b in pairs), key
        assert rows(one) == rows(two)
        assert (one / "encoder.safetensors").read_bytes() == (two / "encoder.safetensors").read_bytes()

    return check


@pytest.fixture
def resumes_alike(monkeypatch, same_numbers):
    """Trains a run, and again with a stop in the last step of the third epoch, after a checkpoint if it is not the
    only step; all numbers must agree. Returns both metrics."""
    step = ContrastiveModule.training_step

    def stop(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (2, self.trainer.num_training_batches - 1):
            raise KeyError("the power went")
        return step(self, batch, batch_idx)

    def run(folder, make):
        whole = train(make(folder / "whole"))
        config = make(folder / "part")
        config = config.model_copy(update={"trainer": config.trainer.model_copy(update={"checkpoint_every": 1})})
        with monkeypatch.context() as patch:
            patch.setattr(ContrastiveModule, "training_step", stop)
            with pytest.raises(KeyError):
                train(config)
        torch.manual_seed(99)
        _, resumed = continue_run(folder / "part", {"trainer": {"checkpoint_every": 0}})
        same_numbers(folder / "whole", folder / "part")
        assert whole["config_digest"] == resumed["config_digest"]
        return whole, resumed

    return run


@pytest.fixture(scope="session")
def write_classes():
    """Writes two class folders of 40 colored images of 32 px; returns their folder."""

    def write(folder: Path) -> Path:
        rng = np.random.default_rng(0)
        for name, top in (("dark", 128), ("light", 256)):
            (folder / name).mkdir(parents=True)
            for i in range(40):
                pixels = rng.integers(top - 128, top, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
        return folder

    return write


@pytest.fixture
def bare():
    """``data.name=bare``: digits without labels, of which a run may have as many as it likes; no test images."""

    class BareConfig(DataConfig):
        name: Literal["bare"] = "bare"

    class Bare(ImageDataset):
        Config = BareConfig
        summary = "digits without labels"
        augment = DATASETS["digits"].augment

        @classmethod
        def load(cls, config, progress=True):
            images = load_images(DataConfig(), progress).train.images[:300]
            none = Split(images[:0], torch.zeros(0, dtype=torch.long))
            return ImageData("bare", (), Split(images, torch.full((len(images),), -1)), none, none)

    yield Bare
    DATASETS.remove("bare")


@pytest.fixture
def clgnn(monkeypatch, capsys, tmp_path):
    """Exit code, standard output and standard error of ``clgnn WORDS``, in a folder of its own."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["clgnn", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        out = capsys.readouterr()
        return code, out.out, out.err

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 80)
    monkeypatch.setattr(console, "stderr", False)
    return run
