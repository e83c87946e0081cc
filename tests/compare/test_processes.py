"""Commands that are forked from a worker."""

import os
import signal
import time
from contextlib import closing

import pytest

from cl_as_gnn.compare.processes import Processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_commands_have_their_own_codes_and_errors_also_after_their_worker_was_killed():
    with closing(Processes()) as processes:
        assert processes.run(["methods", "simclr"], 0, os.environ) == (0, "")
        code, error = processes.run(["train", "method.name=simcl"], 0, os.environ)
        assert code == 2
        assert error.count("\n") == 1
        assert "simclr" in error
        worker = processes._workers[0]
        os.kill(worker._process.pid, signal.SIGKILL)
        while not worker.gone:
            time.sleep(0.01)
        assert processes.run(["methods", "simclr"], 0, os.environ) == (0, "")
        assert processes._workers[0] is not worker
        processes.end()
        assert processes.run(["methods", "simclr"], 0, os.environ) == (0, "")
