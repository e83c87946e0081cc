"""Collapse is told once, and nothing else is called collapse."""

import json

import pytest
from rich.console import Console

from cl_as_gnn.errors import RunError
from cl_as_gnn.report import write_report
from cl_as_gnn.training import callbacks
from cl_as_gnn.training.fit import continue_run, train
from cl_as_gnn.training.health import collapsed

# Alignment without repulsion, at a rate that gets there in seconds.
ALIGNED = ("method.name=align_uniform", "method.uniform_weight=0", "optim.lr=0.05", "eval.graph_every=1")
FEW = ("data.validation=0.6", "eval.split=validation", "trainer.batch_size=128")


def test_a_run_that_only_attracts_is_told_once_also_when_it_stops_and_goes_on(configure, tmp_path, monkeypatch, capsys):
    begin = callbacks.EpochLog.on_train_epoch_start

    def stop(self, trainer, module):
        if self.collapsed_at and not stopped:
            stopped.append(self.collapsed_at)
            raise KeyboardInterrupt
        begin(self, trainer, module)

    stopped = []
    config = configure(tmp_path / "run", *ALIGNED, *FEW, "trainer.epochs=10")
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.EpochLog, "on_train_epoch_start", stop)
        with pytest.raises(RunError, match="interrupted"):
            train(config, console=Console(width=80))
    first = capsys.readouterr().out
    run, metrics = continue_run(tmp_path / "run", {}, Console(width=80))
    assert (first + capsys.readouterr().out).count("collapsed in epoch") == 1
    assert metrics["collapsed_at"] == stopped[0] == json.loads(run.metrics.read_text())["collapsed_at"]
    line = next(line for line in first.splitlines() if line.startswith("collapsed"))
    assert line.startswith(f"collapsed in epoch {stopped[0]}: ")
    assert "method.name=simclr" in line
    row = run.read_history()[-1]
    assert float(row["graph_rank"]) < 4 or float(row["graph_spread"]) < 0.05
    write_report(run.path)
    assert f"collapsed in epoch {stopped[0]}: " in (run.path / "report.html").read_text()


@pytest.mark.parametrize("name", ["gcn", "simsiam", "byol", "vicreg", "barlow", "spectral", "supcon"])
def test_ordinary_runs_have_not_collapsed(configure, tmp_path, name):
    metrics = train(configure(tmp_path / "run", f"method.name={name}", *FEW, "eval.graph_every=1", "trainer.epochs=2"))
    assert metrics["collapsed_at"] is None


def test_features_that_recover_have_not_collapsed(configure, tmp_path, monkeypatch):
    """One bad measurement is told, and the scores are not those of a collapsed run."""
    monkeypatch.setattr(callbacks, "collapsed", lambda rank, spread, most: next(answers, False))
    answers = iter([True, True, True])  # features and projections of the first epoch, features of the second
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    metrics = train(configure(tmp_path / "run", *FEW, "eval.graph_every=1"), console=console)
    assert metrics["collapsed_at"] is None
    assert console.export_text().count("collapsed in epoch 1") == 1


def test_what_is_called_collapse():
    assert collapsed(1.2, 0.5, 64), "a line"
    assert collapsed(30.0, 0.01, 64), "a point with noise"
    assert not collapsed(12.0, 0.15, 64)
    assert not collapsed(1.5, 0.4, 4), "few samples or dimensions have a small rank"
    assert not collapsed(None, None, 64)
