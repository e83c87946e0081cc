"""The processes of the runs of a suite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from cl_as_gnn.runs.stop import PARENT


class Processes:
    """Runs in processes of their own, forked from one worker per slot. They end with this process, however it ends: its
    end is that of their standard input."""

    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self._lock, self._ended = threading.Lock(), False
        self._reader, self._writer = os.pipe()

    def close(self) -> None:
        """End the workers, and with them what still runs."""
        os.close(self._writer)
        for worker in self._workers.values():
            worker.close()
        os.close(self._reader)

    def run(self, words: Sequence[str], slot: int, env: Mapping[str, str]) -> tuple[int, str]:
        """Run ``clgnn WORDS``.

        Args:
            words: of the command.
            slot: one run at a time has it.
            env: the environment of the slot, the same in each call.

        Returns:
            The exit code, and what the command wrote to standard error.
        """
        with self._lock:
            if self._ended:
                return 0, ""
            worker = self._workers.get(slot)
            if worker is None or worker.gone:
                worker = self._workers[slot] = _Worker(self._reader, env)
        return worker.run(words)

    def end(self) -> None:
        """Send SIGTERM to all runs, and start no more."""
        with self._lock:
            self._ended = True
        for worker in self._workers.values():
            worker.terminate()


class _Worker:
    """A process of :mod:`cl_as_gnn.cli.worker`."""

    def __init__(self, standard_input: int, env: Mapping[str, str]):
        self._error = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._run: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cl_as_gnn.cli.worker", str(standard_input)],
            env={**env, PARENT: "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._error,
            text=True,
            pass_fds=[standard_input] if os.name == "posix" else [],
        )

    @property
    def gone(self) -> bool:
        """Whether the process has ended, which only a signal from elsewhere brings about."""
        return self._process.poll() is not None

    def run(self, words: Sequence[str]) -> tuple[int, str]:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        self._error.seek(0)
        self._error.truncate()
        with suppress(BrokenPipeError):
            requests.write(json.dumps(list(words)) + "\n")
            requests.flush()
        number = answers.readline()
        self._run = int(number) if number else None
        code = answers.readline()
        self._run = None
        self._error.seek(0)
        text = self._error.read().decode(errors="replace")
        # Without an answer the worker has ended.
        return int(code) if code else self._process.wait() or 1, text

    def terminate(self) -> None:
        """End the run, or the worker where it has not begun."""
        with suppress(ProcessLookupError):
            os.kill(self._run or self._process.pid, signal.SIGTERM)

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()
        self._error.close()
