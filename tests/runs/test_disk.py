"""A disk that is full, and places that cannot be written: one line, and true about what is kept."""

import errno
import os
import resource

import pytest
from forked import Forked

from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.folder import RunFolder, create_run
from cl_as_gnn.training.fit import continue_run, train

# The system refuses what goes beyond the size, as a full disk does.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from cl_as_gnn import cli
cli.main()
"""


@pytest.mark.parametrize("size", [1024, 20_000])
def test_a_disk_full_before_the_first_checkpoint(tmp_path, small, size):
    words = ["data.validation=0.8", "eval.split=validation", "trainer.accelerator=cpu", "run_dir=run"]
    (tmp_path / "limited.py").write_text(LIMITED)
    done = Forked(tmp_path, size, "train", *small, *words, script="limited.py")
    _, error = done.communicate()
    assert done.returncode in (1, 2)
    assert error.startswith("error: cannot write "), error
    assert error.count("\n") == 1, error
    assert "File too large" in error
    assert "is kept" not in error
    assert "continue" not in error
    assert not list(tmp_path.rglob("*.part"))


def test_a_disk_full_later_keeps_the_checkpoint(tmp_path, configure):
    train(configure(tmp_path / "run", "trainer.epochs=1"))
    (tmp_path / "run" / "metrics.json").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(RunError, match=r"cannot write .*encoder.safetensors: .*continue with clgnn train resume="):
            continue_run(tmp_path / "run", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert continue_run(tmp_path / "run", {})[1]["epochs"] == 1


def test_a_folder_that_cannot_be_made_or_written(tmp_path, configure):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"run_dir=.*file/run cannot be created: Not a directory"):
        train(configure(tmp_path / "file" / "run"))
    with (
        pytest.raises(ConfigError, match=r"cannot be created|cannot write in"),
        create_run(configure("/proc/self/run")),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission(clgnn, tmp_path, configure):
    train(configure(tmp_path / "run", "trainer.epochs=1"))
    (tmp_path / "run").chmod(0o500)
    with pytest.raises(ConfigError, match="cannot write in"):
        continue_run(tmp_path / "run", {"trainer": {"epochs": 2}})
    (tmp_path / "run").chmod(0)
    for words in (["evaluate", "run"], ["report", "run"], ["train", "resume=run"], ["train", "run_dir=run/a"]):
        code, _, error = clgnn(*words)
        assert code in (1, 2)
        assert error.startswith("error: cannot")
        assert error.count("\n") == 1
    (tmp_path / "run").chmod(0o700)


def test_a_text_that_cannot_be_written_says_what_is_kept(tmp_path):
    run = RunFolder(tmp_path)
    (tmp_path / "a.part").mkdir()
    with pytest.raises(RunError, match=r"cannot write .*a: Is a directory$"):
        run.write(tmp_path / "a", "")


@pytest.mark.parametrize(("name", "done"), [("last.ckpt", True), ("encoder.safetensors", False)])
def test_a_rename_that_fails_is_one_line_and_the_run_goes_on(
    tmp_path, configure, monkeypatch, same_numbers, name, done
):
    """On a network disk: a stale handle, or a rename that was done although the answer was lost."""

    def replace(source, target):
        if target.name == name and (name != "last.ckpt" or target.exists()) and not failed:
            failed.append(target)
            if done:
                real(source, target)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        real(source, target)

    def small(folder):
        return configure(folder, "data.name=karate", "trainer.epochs=2", "trainer.logger=none")

    real, failed = os.replace, []
    train(small(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(RunError, match=rf"cannot write .*{name}: .*Stale file handle"):
            train(small(tmp_path / "run"))
    assert not list(tmp_path.rglob("*.part"))
    continue_run(tmp_path / "run", {})
    same_numbers(tmp_path / "whole", tmp_path / "run")
