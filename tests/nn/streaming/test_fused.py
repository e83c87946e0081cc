"""The Triton kernels of all pairs, without a GPU: interpreted, counted, chosen. test_compiled.py compiles them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from cl_as_gnn.nn import functional
from cl_as_gnn.nn.streaming import (
    fused,
    softmax_all_pairs,
    softmax_bipartite,
    softmax_local_rows,
    softmax_over_keys,
)

pytest.importorskip("triton", reason="Triton comes with the CUDA build of torch on Linux")
TOLERANCES = {
    "two nodes": 1e-6,
    "two blocks": 1e-6,
    "low temperature": 1e-5,
    "long rows": 1e-5,
    "tiny rows": 1e-6,
    "graphs": 1e-6,
    "graphs, low": 1e-5,
    "edges": 1e-6,
    "edges, low": 1e-5,
    "edges, graphs": 1e-6,
    "edges, converged": 2e-6,
    "own rows": 1e-6,
    "own rows, low": 3e-5,
    "own rows, long": 2e-6,
    "two sets": 2e-6,
    "two sets, long": 1e-5,
    "fixed keys": 2e-6,
    "half": 1e-3,
    "repeated": 0,
    "one node": 0,
    "node of this rank alone": 0,
}


def measured(device, **env):
    """Relative errors of the kernels. Triton reads whether it interprets when it is imported: hence a process."""
    env = {**os.environ, "CLGNN_PAIRS": "triton", "OMP_NUM_THREADS": "1", **env}
    script, root = Path(__file__).with_name("interpreted.py"), Path(fused.__file__).parents[3]
    env["PYTHONPATH"] = f"{root}{os.pathsep}{env.get('PYTHONPATH', '')}"
    done = subprocess.run([sys.executable, "-W", "ignore", script, device], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def errors():
    return measured("cpu", TRITON_INTERPRET="1")


@pytest.mark.parametrize("name", TOLERANCES)
def test_interpreted_kernels_agree_with_float64(errors, name):
    assert errors.keys() == TOLERANCES.keys()
    assert errors[name] <= TOLERANCES[name]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernels_on_a_gpu_agree_with_float64():
    found = measured("cuda", TRITON_INTERPRET="0")
    assert {name: error for name, error in found.items() if error > 2 * TOLERANCES[name]} == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("temperature", "tolerance"), [(0.5, 1e-6), (0.01, 1e-4)])
def test_nt_xent_on_a_gpu_is_accurate_and_waits_for_nothing(temperature, tolerance, monkeypatch):
    monkeypatch.setenv("CLGNN_PAIRS", "triton")
    n = 8192
    x = torch.randn(n, 128, device="cuda", requires_grad=True)
    edges = torch.stack([torch.arange(n), torch.arange(n).roll(n // 2)]).cuda()
    functional.nt_xent(x, edges, temperature).backward()
    x.grad = None
    torch.cuda.set_sync_debug_mode("error")
    try:
        functional.nt_xent(x, edges, temperature).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wide = x.detach().double().requires_grad_()
    functional.nt_xent(wide, edges, temperature).backward()
    assert (x.grad - wide.grad).norm() / wide.grad.norm() < tolerance


def test_half_precision_is_used_where_asked(errors):
    assert errors["half"] > 1e-5


@pytest.fixture
def launches(monkeypatch):
    """Names of the kernels that would start on an H100, and their arguments."""
    seen = []
    monkeypatch.setattr(fused, "_major", lambda device: 9)
    monkeypatch.setattr(fused, "_processors", lambda device: 132)
    monkeypatch.setattr(fused, "start", lambda kernel, *rest: seen.append((kernel.fn.__name__, *rest)))
    monkeypatch.setenv("CLGNN_PAIRS", "triton")
    return seen


class Operators(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func not in (torch.ops.aten.view.default, torch.ops.aten.slice.Tensor)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("call", "kernels", "operators"),
    [
        (lambda x: softmax_all_pairs(x, 0.5, unit=True), 2, 35),
        (lambda x: softmax_local_rows(x, torch.arange(99), lambda part: x[:, 0], 0.5, unit=True), 2, 45),
        (lambda x: softmax_bipartite(x, x, 0.5), 3, 75),
        (lambda x: softmax_over_keys(x, x, 0.5), 2, 55),
        (lambda x: functional.nt_xent(x, torch.arange(400).view(2, 200)), 2, 180),
    ],
)
def test_launches_do_not_grow_with_the_nodes(launches, call, kernels, operators):
    for n in (400, 20_000):
        launches.clear()
        with Operators() as seen:
            call(torch.randn(n, 64))
        assert len(launches) == kernels
        assert seen.count <= operators


def test_programs_fill_the_card_and_are_no_more_than_it_needs(launches):
    for n, grid in ((8192, (128, 2)), (2**16, (1024, 1)), (100, (2, 2))):
        softmax_all_pairs(torch.zeros(n, 16), 0.5, unit=True)
        assert {args[1] for args in launches} == {grid}
        launches.clear()


def test_the_host_does_not_wait_and_all_is_on_the_gpu(launches, fake_gpu):
    x, weight = fake_gpu.empty(300, 24), fake_gpu.empty(300)
    batch, edges = fake_gpu.empty(300, dtype=torch.long), fake_gpu.empty(2, 300, dtype=torch.long)
    for plain in (True, False):
        for half in (True, False):
            for graph in (None, batch):
                rest = 0.5, plain, plain, half, edges, weight
                for out in fake_gpu.running(fused.all_pairs, x, weight, graph, *rest):
                    assert out.device == fake_gpu.device
            _, message = fake_gpu.running(
                fused.local_rows, x, batch[:150], lambda part: weight, 0.5, weight, plain, plain, half
            )
            assert message.shape == (150, 24)
    assert [out.shape[0] for out in fake_gpu.running(fused.bipartite, x, x[:70], 0.5, weight)] == [300, 300, 70]
    assert [out.shape[0] for out in fake_gpu.running(fused.over_keys, x, x[:70], 0.5)] == [300, 300]


def test_what_the_kernels_do_not_serve_goes_through_tiles(launches, monkeypatch):
    x = F.normalize(torch.randn(30, 8), dim=1)
    expected = softmax_all_pairs(x.double(), 0.5, unit=True)[1]
    assert not launches, "float64"
    softmax_all_pairs(x, 0.5, unit=True, tile=16)
    softmax_all_pairs(torch.randn(9, 129), 0.5)
    softmax_bipartite(x, x[:0], 0.5)
    torch.func.grad(lambda y: softmax_all_pairs(y, 0.5, unit=True)[1].sum() + y.sum())(x)
    torch.compile(lambda y: softmax_bipartite(y, y, 0.5)[1], backend="eager", fullgraph=True)(x)
    assert not launches
    softmax_all_pairs(torch.randn(9, 128), 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        softmax_all_pairs(torch.zeros(9, 256), 0.5, unit=True)
    assert len(launches) == 4
    launches.clear()
    monkeypatch.setenv("CLGNN_PAIRS", "tiles")
    torch.testing.assert_close(softmax_all_pairs(x, 0.5, unit=True)[1], expected.float())
    assert not launches


def test_the_switch_says_what_is_wrong(monkeypatch):
    x = torch.zeros(3, 3)
    monkeypatch.setenv("CLGNN_PAIRS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(
        ValueError, match="expects CLGNN_PAIRS as triton on a card from sm_80 on, with Triton, got 'tri"
    ):
        softmax_all_pairs(x)
    monkeypatch.setenv("CLGNN_PAIRS", "kernels")
    with pytest.raises(ValueError, match="CLGNN_PAIRS"):
        softmax_all_pairs(x)


@pytest.mark.parametrize(("width", "wide"), [(1, 16), (16, 16), (17, 32), (128, 128), (129, 256)])
def test_rows_are_padded_to_what_a_tensor_core_multiplies(width, wide):
    assert fused.padded(width) == wide
