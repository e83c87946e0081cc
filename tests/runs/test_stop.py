"""Ctrl-C and SIGTERM, sent to real commands."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import Forked

TINY = ["encoder.width=8", "eval.draws=1", "data.validation=0.6", "eval.split=validation", "trainer.epochs=400"]
SUITE = """
baseline: simclr
seeds: [0]
base: {encoder: {width: 8}, trainer: {epochs: 400}, eval: {draws: 1}}
runs: {simclr: {method: {name: simclr}}}
"""


def start_anew(folder, *words):
    """In a process that has yet to import torch."""
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cl_as_gnn.cli", *words]
    pipe = subprocess.PIPE

    def heed() -> None:  # a shell starts what runs in the background deaf to Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        command, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=heed
    )


def wait_for(found, process, seconds=400):
    deadline = time.time() + seconds
    while not found() and process.poll() is None and time.time() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    if not found():
        process.kill()
        pytest.fail(f"nothing after {seconds} s")


def ended(process):
    try:
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, error


def torch_is_there(process):
    maps = Path(f"/proc/{process.pid}/maps")
    return lambda: "libtorch" in maps.read_text() or time.sleep(0.1)


@pytest.mark.parametrize(("number", "code", "what"), [(2, 130, "interrupted"), (15, 143, "ended by SIGTERM")])
def test_a_run_says_how_to_go_on(tmp_path, number, code, what):
    process = Forked(tmp_path, "train", *TINY, "run_dir=run")
    wait_for((tmp_path / "run" / "checkpoints" / "last.ckpt").exists, process)
    process.send_signal(number)
    found, error = ended(process)
    assert found == code
    assert error.startswith(f"error: {what} in epoch ")
    assert error.endswith("continue with clgnn train resume=run\n")
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks for torch in /proc")
@pytest.mark.parametrize("words", [["train", *TINY, "run_dir=run"], ["inspect"]], ids=lambda words: words[0])
def test_start_up_is_interrupted_too(tmp_path, words):
    process = start_anew(tmp_path, *words)
    wait_for(torch_is_there(process), process)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "error: interrupted: run the command again\n")
    assert not (tmp_path / "run").exists()


def test_an_evaluation_is_interrupted_too(tmp_path):
    process = Forked(tmp_path, "train", *TINY, "trainer.epochs=1", "eval.draws=100000", "run_dir=run")
    wait_for((tmp_path / "run" / "encoder.safetensors").exists, process)  # what is scored next
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "error: interrupted: continue with clgnn train resume=run\n")
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_suite_ends_with_its_runs(tmp_path, number):
    (tmp_path / "s.yaml").write_text(SUITE)
    process = Forked(tmp_path, "compare", "s.yaml", "--out", "out")
    history = tmp_path / "out" / "runs" / "simclr" / "seed0" / "metrics.csv"
    wait_for(history.exists, process)
    process.send_signal(number)
    code, error = ended(process)
    if number == signal.SIGTERM:
        assert (code, error.count("\n")) == (143, 1)
        assert error.startswith("error: ended by SIGTERM: the same command goes on with the runs")
    deadline = time.time() + 30
    while time.time() < deadline:
        rows = history.read_text()
        time.sleep(3)
        if history.read_text() == rows:
            return
    raise AssertionError("the run trains on")


def test_a_command_that_waits_in_c_is_ended(tmp_path):
    """As in a collective with a rank that has gone: the main thread never comes back to Python."""
    code = (
        "import ctypes, os, signal\n"
        "from cl_as_gnn.runs import stop\n"
        "stop.GRACE = 0.5\n"
        "with stop.handled(), stop.interruptible(lambda what: f'{what}: resume'):\n"
        "    print('on', flush=True)\n"
        "    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)\n"
        "    while True: libc.pthread_mutex_lock(mutex)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "error: ended by SIGTERM: resume\n")
