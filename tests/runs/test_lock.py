"""Two processes and one folder."""

import subprocess
import sys

import pytest

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.runs.folder import create_run, prepare_run
from cl_as_gnn.runs.lock import locked
from cl_as_gnn.training.fit import continue_run, train

HOLD = """
import sys, time
from pathlib import Path
from cl_as_gnn.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    (tmp_path / "run").mkdir()
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_folder_in_use_is_one_line_until_its_process_is_killed(tmp_path, holder, configure):
    with pytest.raises(ConfigError, match=r"run is in use by another process"), create_run(configure(tmp_path / "run")):
        pass
    assert not (tmp_path / "run" / "config.yaml").exists()
    holder.kill()
    holder.wait()
    with create_run(configure(tmp_path / "run")) as run, pytest.raises(ConfigError, match="in use"):
        continue_run(run.path, {})
    with locked(tmp_path / "run"):
        pass


def test_the_slower_of_two_new_runs_finds_the_folder_taken(tmp_path, configure):
    """The first has written its config between the check of the second and its lock."""
    config = configure(tmp_path / "run", "trainer.epochs=1")
    second = prepare_run(config)
    with create_run(config):
        pass
    with pytest.raises(ConfigError, match="holds a run"):
        train(second)
