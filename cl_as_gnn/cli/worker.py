"""A process that has imported everything, and forks for each run: the run starts at once.

``python -m cl_as_gnn.cli.worker FD`` reads the words of a ``clgnn`` command as a line of JSON from standard input,
and answers with the process number of the run, and with its exit code when it has ended. ``FD`` becomes the standard
input of the runs. Where a system has no fork, each run is a process that imports for itself.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys


def serve(standard_input: int) -> list[str] | None:
    """Fork for each line of standard input: the words of the run in its process, ``None`` here at the end."""
    for line in sys.stdin:
        words = json.loads(line)
        number = os.fork() if hasattr(os, "fork") else None
        if number == 0:
            os.dup2(standard_input, 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return list(words)
        if number is None:
            run = subprocess.Popen(
                [sys.executable, "-m", "cl_as_gnn.cli", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            _answer(run.pid)
            _answer(run.wait())
        else:
            _answer(number)
            _answer(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]))
    return None


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    """Import what a run needs, without work for torch: its threads would not survive a fork."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runs are told, and the command that has started this process
    from cl_as_gnn.compat import quiet_command

    with quiet_command():
        import sklearn.datasets
        import sklearn.linear_model
        import sklearn.model_selection
        import torch.utils.tensorboard

        import cl_as_gnn.training.fit
        from cl_as_gnn import cli
        from cl_as_gnn.cli import __main__ as command

        assert cl_as_gnn.training.fit
        assert sklearn
        assert torch.utils.tensorboard
    gc.freeze()  # collections in a run would write to, and so copy, what it shares with this process
    words = serve(int(sys.argv[1]))
    if words is None:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.modules["__main__"] = command  # from which further ranks are started
    sys.argv = ["clgnn", *words]
    atexit.register(gc.unfreeze)  # what stays frozen at the end, some extensions report as lost
    cli.main()


if __name__ == "__main__":
    main()
