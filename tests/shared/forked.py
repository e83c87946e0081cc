"""``clgnn``, or a script, in a process forked from one that has imported everything: an import costs seconds.

Such a process has a number, a session, signals, output and an exit code of its own. Tests of what is imported, and of
what is said meanwhile, start a new one instead.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


class Forked:
    """``clgnn WORDS`` in a folder, or ``SCRIPT WORDS``, used as a ``subprocess.Popen``."""

    def __init__(self, folder, *words, script=None, **variables):
        context = multiprocessing.get_context("forkserver")
        heavy = ["torch.utils.tensorboard", "sklearn.datasets", "sklearn.model_selection"]
        context.set_forkserver_preload(["cl_as_gnn.training.fit", *heavy])
        streams = [tempfile.NamedTemporaryFile("r") for _ in range(2)]  # noqa: SIM115 - kept until they are read
        names = [stream.name for stream in streams]
        self._streams = streams
        self._process = context.Process(target=_begin, args=([*map(str, words)], folder, script, variables, names))
        self._process.start()
        self.pid = self._process.pid
        self.kill = self._process.kill

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("clgnn", timeout)
        return self.returncode

    def communicate(self, timeout=550):
        """Standard output and standard error, once it has ended."""
        self.wait(timeout)
        return tuple(Path(stream.name).read_text() for stream in self._streams)


def _begin(words, folder, script, variables, streams):
    """What the process does."""
    import torch

    from cl_as_gnn import cli
    from cl_as_gnn.cli import __main__ as command

    os.setsid()
    os.chdir(folder)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.environ.update({"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **variables})
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if script:
        sys.argv = [script, *words]
        runpy.run_path(script, run_name="__main__")
    else:
        sys.modules["__main__"] = command  # from which further ranks are started
        sys.argv = ["clgnn", *words]
        cli.main()
