"""How far the runs of a suite are: a bar over their epochs, or a line per run that ends if to no terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cl_as_gnn.compare.suite import Cell
from cl_as_gnn.errors import RunError


class SuiteProgress:
    """A context in which the runs are trained by other processes, whose tables of epochs it reads.

    Args:
        name: of the suite.
        cells: its runs.
        waiting: those that have not finished.
        console: where to print.
    """

    def __init__(self, name: str, cells: Sequence[Cell], waiting: Sequence[Cell], console: Console):
        self.console, self.total, self.waiting, self._all = console, len(cells), list(waiting), list(waiting)
        self.finished = len(cells) - len(waiting)
        self._epochs = {(cell.row, cell.seed): _epochs(cell) for cell in self.waiting}
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[runs]} runs, epoch {task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("left {task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
        )
        todo = sum(cell.config.trainer.epochs for cell in self.waiting)
        self._before, self._start = sum(self._epochs.values()), time.monotonic()
        self._task = self.bar.add_task(name, total=todo, completed=self._before, runs=self._runs(), left="–")

    def _runs(self) -> str:
        return f"{self.finished}/{self.total}"

    def __enter__(self) -> SuiteProgress:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def ended(self, cell: Cell, failed: bool) -> None:
        """Count a run that has ended; no more of its epochs are to come."""
        self.waiting.remove(cell)
        self._epochs[cell.row, cell.seed] = cell.config.trainer.epochs
        self.finished += not failed
        if not self.console.is_terminal:
            self.console.print(f"{self._runs()} runs: {cell.row} seed {cell.seed}{' failed' * failed}", soft_wrap=True)

    def show(self) -> None:
        """Read the epochs of the runs and move the bar."""
        if self.console.is_terminal:
            self._epochs |= {(cell.row, cell.seed): _epochs(cell) for cell in self.waiting}
            done = sum(self._epochs.values())
            self.bar.update(self._task, completed=done, runs=self._runs(), left=self._left(done))

    def _left(self, done: int) -> str:
        """At the pace so far, in which runs have started and been scored too."""
        if done <= self._before:
            return "–"
        rest = sum(cell.config.trainer.epochs for cell in self._all) - done
        return str(timedelta(seconds=round((time.monotonic() - self._start) * rest / (done - self._before))))


def _epochs(cell: Cell) -> int:
    """Epochs that are done; none of a table that cannot be read, which its own process tells."""
    try:
        rows = cell.run.read_history()
    except RunError:
        return 0
    return int(rows[-1]["epoch"]) if rows else 0
