"""Ctrl-C and SIGTERM end a command in one way: one line with the cure, and exit code 130 or 143. Imports no torch."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from cl_as_gnn.errors import Interrupted

# Seconds until a command that cannot stop by itself is ended: its main thread may wait in C for another process.
GRACE = 5.0
# In the environment of a process that ends when its standard input does, as that of its parent ends.
PARENT = "CLGNN_PARENT"
_Part = tuple[Callable[[str], str], Callable[[], None]]
_PARTS: list[_Part] = []


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. No KeyboardInterrupt, which typer and Lightning turn into exit codes of their own."""

    def __init__(self, number: int):
        self.code = 128 + number
        super().__init__(number)


@contextmanager
def interruptible(cure: Callable[[str], str], end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turn a stop within the block into :class:`Interrupted`.

    Args:
        cure: makes the line for the user of what has happened; an empty one for a rank that is silent.
        end: ends the processes that the block has started.
    """
    part = cure, end
    _PARTS.append(part)
    try:
        yield
    except (KeyboardInterrupt, Stopped) as error:
        raise _interrupted(error.code if isinstance(error, Stopped) else 128 + signal.SIGINT, part) from None
    finally:
        _PARTS.remove(part)


def _interrupted(code: int, part: _Part) -> Interrupted:
    cure, end = part
    end()
    line = cure("interrupted" if code == 128 + signal.SIGINT else "ended by SIGTERM")
    # Lightning kills the first rank, which has the line to write, if another one ends with an error.
    return Interrupted(line, code if line else 0)


def _run_again(what: str) -> str:
    other_rank = any(int(os.environ.get(name) or 0) for name in ("RANK", "LOCAL_RANK"))
    return "" if other_rank else f"{what}: run the command again"


@contextmanager
def handled() -> Iterator[None]:
    """Raise :class:`Stopped` in the main thread on the first Ctrl-C or SIGTERM; later ones are ignored.

    Within ``GRACE`` seconds the process ends in any case: a thread, which C code does not hold up, sees to that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Stopped(number)

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]  # nohup ignores
    before = {number: signal.signal(number, stop) for number in numbers}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    done = threading.Event()
    threading.Thread(target=_watch, args=(reader, numbers, done), daemon=True, name="stop").start()
    try:
        with interruptible(_run_again):
            yield
    finally:
        done.set()
        signal.set_wakeup_fd(wakeup)
        os.close(writer)
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(reader: int, numbers: list[signal.Signals], done: threading.Event) -> None:
    """End the process ``GRACE`` seconds after one of the signals, unless the command is done before."""
    while byte := os.read(reader, 1):
        if byte[0] in numbers and not done.wait(GRACE):
            error = _interrupted(128 + byte[0], _PARTS[-1])
            os.write(2, f"error: {error}\n".encode() if str(error) else b"")
            os._exit(error.code)
    os.close(reader)


def end_with_parent() -> None:
    """Where ``PARENT`` is set, send this process SIGTERM at the end of its standard input, however the parent ended."""
    if os.environ.get(PARENT):
        threading.Thread(target=_wait_for_parent, daemon=True, name="parent").start()


def _wait_for_parent() -> None:
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
