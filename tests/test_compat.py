"""What dependencies say on standard error: nothing, in the command and in the ranks that it starts."""

import os
import subprocess
import sys
import warnings

import pytest

from cl_as_gnn.compat import quiet_command
from cl_as_gnn.errors import Notice

# Runs in every process of the command before anything else; warns when a package is imported, and in each step.
NOISE = """
import importlib.abc, logging, sys, warnings

class Noise(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("rich.table", "torch", "lightning.pytorch", "torch.distributed"):
            warnings.simplefilter("always")
            for category in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.warn(f"NOISE of {name}", category)
            logging.getLogger(name).warning("NOISE of a logger")
        if name == "cl_as_gnn.training.fit":
            import lightning.pytorch, torch.distributed
            optimizer = sys.modules["torch"].optim.AdamW
            step = optimizer.step
            def loud(self, *args, **kwargs):
                warnings.warn("NOISE of a step", FutureWarning)
                for logger in ("lightning.pytorch", "torch.distributed"):
                    logging.getLogger(logger).warning("NOISE of a step")
                return step(self, *args, **kwargs)
            optimizer.step = loud
        return None

sys.meta_path.insert(0, Noise())
"""
TRAIN = [
    *("trainer.epochs=1", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.batch_size=64", "encoder.width=8"),
    *("data.validation=0.8", "eval.split=validation", "eval.baselines=false", "eval.draws=1", "eval.online_size=50"),
]


def clgnn(folder, *words, **variables):
    (folder / "sitecustomize.py").write_text(NOISE)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", os.getcwd())])
    env = os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} | variables
    command = [sys.executable, "-m", "cl_as_gnn.cli", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_two_ranks_show_no_warning_of_a_dependency(tmp_path):
    """Slurm's variables, and a terminal that knows ASCII alone, add nothing either."""
    slurm = {"SLURM_NTASKS": "3", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "1", "SLURM_NTASKS_PER_NODE": "3"}
    terminal = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    assert clgnn(tmp_path, "train", *TRAIN, "run_dir=x[/b]", **slurm, **terminal) == ""
    assert (tmp_path / "x[/b]" / "metrics.json").exists()


def test_who_asks_for_the_warnings_gets_them(tmp_path):
    """Of what a listing imports, which is little."""
    assert clgnn(tmp_path, "methods") == ""
    error = clgnn(tmp_path, "methods", PYTHONWARNINGS="default")
    assert "NOISE of rich.table" in error
    assert "NOISE of a logger" in error


def test_a_notice_of_this_package_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with quiet_command():
            warnings.warn("raise max_iter", Notice, stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            with pytest.warns(UserWarning, match="seen"):
                warnings.warn("seen", UserWarning, stacklevel=1)
        assert capsys.readouterr().err == "warning: raise max_iter\n"
        assert warnings.showwarning is not None
    assert warnings.showwarning is before
