"""What a run shows of itself while it trains."""

import re
from io import StringIO

from rich.console import Console
from rich.progress import Progress

from cl_as_gnn.training.callbacks import ProgressBar
from cl_as_gnn.training.fit import train


def test_the_bar_moves_within_an_epoch(configure, tmp_path, monkeypatch):
    seen, update = [], Progress.update
    monkeypatch.setattr(ProgressBar, "EVERY", 0)
    monkeypatch.setattr(Progress, "update", lambda bar, task, **to: (seen.append(to), update(bar, task, **to)))
    console = Console(file=StringIO(), force_terminal=True, width=80)
    train(configure(tmp_path / "run", "trainer.epochs=2", "trainer.batch_size=500"), console=console)
    steps = [(to["completed"], to["total"], to["epoch"]) for to in seen]
    assert steps == [(1, 4, "1/2"), (2, 4, "1/2"), (2, 4, "1/2"), (3, 4, "2/2"), (4, 4, "2/2"), (4, 4, "2/2")]
    assert re.fullmatch(r"[\d,]+ img/s", seen[0]["numbers"])
    assert re.fullmatch(r"loss [\d.]+  kNN [\d.]+ %  [\d,]+ img/s", seen[-1]["numbers"])


def test_a_pipe_gets_a_line_an_epoch_and_no_control_characters(configure, tmp_path):
    console = Console(file=StringIO(), width=80)
    train(configure(tmp_path / "run", "trainer.epochs=2", "data.name=karate"), console=console)
    out = console.file.getvalue()
    assert len(re.findall(r"^epoch \d/2  loss [\d.]+  [\d,]+ nodes/s$", out, re.MULTILINE)) == 2
    assert "\x1b" not in out
    assert "\r" not in out
