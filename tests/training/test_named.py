"""Loggers and callbacks that settings name."""

import sys
import time
from importlib import import_module
from types import ModuleType

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import DummyLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.training import named
from cl_as_gnn.training.fit import Watchers, continue_run, train
from cl_as_gnn.training.named import check_loggers, make_loggers, named_callbacks

STOPPING = "{class: 'lightning.pytorch.callbacks:EarlyStopping', monitor: loss, patience: 9, min_delta: 100}"


class Counter(Callback):
    """Counts epochs from a start on."""

    def __init__(self, start=0):
        self.epochs = start

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs += 1

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict):
        self.epochs = state_dict["epochs"]


class Recorder(DummyLogger):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.settings, self.rows = {}, {}

    def log_hyperparams(self, params, *args, **kwargs):
        self.settings |= params

    def log_metrics(self, metrics, step=None):
        self.rows.setdefault(step, {}).update(metrics)


@pytest.fixture
def configure(configure):
    """Two classes and no more: a run of a second."""
    tiny = ("data.classes=['0', '1']", "method.name=simclr", "eval.online_size=50", "eval.draws=1")
    return lambda path, *settings: configure(path, *tiny, *settings)


@pytest.fixture(autouse=True)
def _module(monkeypatch):
    module = ModuleType("watching")
    module.Counter = Counter
    monkeypatch.setitem(sys.modules, "watching", module)


def states(path):
    return torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]


def test_the_state_of_callbacks_resumes_also_of_one_that_lightning_calls_last(tmp_path, configure, resumes_alike):
    settings = f"trainer.callbacks=[{{class: 'watching:Counter', start: 5}}, {STOPPING}]"
    resumes_alike(tmp_path, lambda path: configure(path, settings))
    whole, part = states(tmp_path / "whole"), states(tmp_path / "part")
    (stopping,) = (key for key in whole if key.startswith("EarlyStopping"))
    assert part["Counter"] == whole["Counter"] == {"epochs": 8}
    assert part[stopping] == whole[stopping]
    assert whole[stopping]["wait_count"] == 2


def test_callbacks_and_loggers_from_python_see_epochs_scores_and_settings(tmp_path, configure):
    """And a run that a callback stops has fewer epochs; one whose callback is not given again is refused."""
    path, recorder, best = tmp_path / "run", Recorder(), ModelCheckpoint(monitor="online_knn", mode="max")
    config = configure(path, f"trainer.callbacks=[{STOPPING.replace('patience: 9', 'patience: 1')}]")
    metrics = train(config, watchers=Watchers([Counter(), best], [recorder]))
    assert metrics["epochs"] == 2
    assert best.best_model_score in [row["online_knn"] for row in recorder.rows.values()]
    assert recorder.settings["optim.lr"] == config.optim.lr
    assert recorder.rows[1]["loss"] > recorder.rows[2]["loss"] == pytest.approx(metrics["loss"])
    assert recorder.rows[2]["final/knn_top1"] == metrics["knn_top1"]
    events = EventAccumulator(str(path)).Reload()
    assert events.Scalars("final/knn_top1")[0].value == pytest.approx(metrics["knn_top1"])
    assert b"lr: 0.004" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
    with pytest.raises(ConfigError, match=r"with the callback Counter.* with the same callbacks="):
        continue_run(path, {"trainer": {"epochs": 4}})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainer.callbacks=[nowhere:Mine]", r"nowhere:Mine cannot be made \(ModuleNotFoundError: No module named"),
        ("trainer.callbacks=[{class: 'watching:Counter', stop: 1}]", "unexpected keyword argument 'stop'.*argument: v"),
        ("trainer.callbacks=[torch.nn:Identity]", "makes a Identity, not a Lightning Callback"),
        ("trainer.callbacks=[Counter]", "expects <module>:<class>"),
        ("trainer.callbacks=[{start: 1}]", "expects <module>:<class>"),
        ("trainer.logger=tensorbord", "did you mean 'tensorboard'?"),
        ("trainer.logger=wandb", r"needs the package wandb: pip install 'cl-as-gnn\[wandb\]'"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, setting, message):
    monkeypatch.setattr(named, "find_spec", lambda name: None)

    def check():
        config = load_config(None, [setting])
        named_callbacks(config)
        check_loggers(config)

    with pytest.raises(ConfigError, match=message) as caught:
        check()
    assert "\n" not in str(caught.value)


def test_who_watches_leaves_the_digest_alone():
    plain = load_config()
    for setting in ("trainer.logger=none", "trainer.logger=[csv]", "trainer.logger=[mlflow, tensorboard]"):
        assert load_config(None, [setting]).digest == plain.digest
    assert load_config(None, ["trainer.logger=csv"]).trainer.logger == ()
    assert load_config(None, ["trainer.callbacks=watching:Counter"]).digest != plain.digest


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_trackers_log_offline_and_a_resumed_run_goes_on_as_the_same_one(tmp_path, monkeypatch, configure, name):
    places = {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    for key, value in (places | {"TRACKIO_DIR": str(tmp_path / "trackio")}).items():
        monkeypatch.setenv(key, value)  # trackio reads its own when it is imported
    package = pytest.importorskip(name)
    path = tmp_path / "run"
    train(configure(path, "trainer.epochs=1", f"trainer.logger=[{name}]"))
    _, metrics = continue_run(path, {"trainer": {"epochs": 2}})
    if name == "mlflow":
        client = package.MlflowClient(places["MLFLOW_TRACKING_URI"])
        (run,) = client.search_runs([client.get_experiment_by_name("cl_as_gnn").experiment_id])
        assert run.data.params["optim.lr"] == "0.004"
        assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
        assert run.data.metrics["final/knn_top1"] == pytest.approx(metrics["knn_top1"])
    if name == "wandb":
        files = list(path.glob("wandb/offline-run-*/*.wandb"))
        assert len(files) == 2
        assert len({file.name for file in files}) == 1
        for _ in range(50):  # a process of wandb's writes them
            written = [file.read_bytes() for file in files]
            if all(b"final/knn_top1" in part and b"optim.lr" in part for part in written):
                break
            time.sleep(0.1)
        else:
            pytest.fail("no scores or settings in wandb's files")
    if name == "trackio":
        (run,) = package.Api().runs("cl_as_gnn")
        assert run.config["optim.lr"] == 0.004
        rows = import_module("trackio.sqlite_storage").SQLiteStorage.get_logs("cl_as_gnn", run.name)
        assert [row["step"] for row in rows if "loss" in row] == [1, 2]
        assert rows[-1]["final/knn_top1"] == pytest.approx(metrics["knn_top1"])


def test_a_tracker_that_cannot_start_is_one_line(tmp_path, configure, monkeypatch):
    def fail(run):
        raise ValueError("no server\nat that address")

    monkeypatch.setitem(named._MAKERS, "mlflow", fail)
    with pytest.raises(RuntimeError, match=r"mlflow cannot start \(ValueError: no server at .*MLFLOW_TRACKING_URI"):
        make_loggers(configure(tmp_path, "trainer.logger=mlflow"), None)
