"""Memory of the losses: nothing of the size of all pairs is made."""

import sys

import pytest
import torch
from forked import Forked

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn.functional import alignment_loss, nt_xent, spectral_contrastive_loss, uniformity_loss
from cl_as_gnn.nn.streaming import tiles

PEAK = """
import re, sys, torch
from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn.functional import alignment_loss, nt_xent, spectral_contrastive_loss, uniformity_loss
losses = {
    "nt_xent": lambda x, e: nt_xent(x, e),
    "nt_xent_pair": lambda x, e: nt_xent((x, x.detach().clone()), e),
    "alignment_loss": lambda x, e: alignment_loss(x, e),
    "uniformity_loss": lambda x, e: uniformity_loss(x),
    "spectral_contrastive_loss": lambda x, e: spectral_contrastive_loss(x, e),
}
def resident(field):
    return int(re.search(field + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
for name in sys.argv[2:]:
    for n in (600, int(sys.argv[1])):
        x = torch.randn(n, 128, requires_grad=True)
        edges = augmentation_edges(n // 2, 2, x.device)
        open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
        before = resident("VmRSS")
        losses[name](x, edges).backward()
    print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("n", "limit", "names"),
    [
        (8_000, 80, ["nt_xent", "alignment_loss", "spectral_contrastive_loss"]),
        pytest.param(20_000, 200, ["nt_xent", "alignment_loss", "spectral_contrastive_loss"], marks=pytest.mark.slow),
        pytest.param(20_000, 200, ["nt_xent_pair", "uniformity_loss"], marks=pytest.mark.slow),
    ],
)
def test_many_nodes_take_little(tmp_path, n, limit, names):
    """The rise of the resident set in MB in a process of its own, on one thread; all pairs of 8,000 nodes are 256."""
    (tmp_path / "peak.py").write_text(PEAK)
    process = Forked(tmp_path, n, *names, script="peak.py")
    out, error = process.communicate()
    assert process.returncode == 0, error
    rises = [float(line) for line in out.split()]
    assert len(rises) == len(names)
    assert max(rises) < limit
    assert rises[0] > n * 128 * 4 / 2**20, "of the gradient alone; later ones may use again what an earlier one freed"


@pytest.mark.parametrize(
    "name", ["alignment_loss", "nt_xent", "nt_xent_pair", "spectral_contrastive_loss", "uniformity_loss"]
)
def test_the_largest_tensor_is_no_matrix_of_all_pairs(monkeypatch, name):
    """A strip is bounded whatever n: at n = 20,000 no more than 16 MB, next to features of 10 MB."""
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 2**17)
    n, d = 1600, 16
    x, other = torch.randn(n, d, requires_grad=True), torch.randn(n, d, requires_grad=True)
    edges = augmentation_edges(n // 2, 2, x.device)
    losses = {
        "alignment_loss": lambda: alignment_loss(x, edges),
        "nt_xent": lambda: nt_xent(x, edges),
        "nt_xent_pair": lambda: nt_xent((x, other), edges),
        "spectral_contrastive_loss": lambda: spectral_contrastive_loss(x, edges),
        "uniformity_loss": lambda: uniformity_loss(x),
    }
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        losses[name]().backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events()) // x.element_size()
    assert n * d <= largest <= max(512**2, 2 * n * d)  # a tile or a strip, or both sets of features
    assert max(512**2, 2 * n * d) < n * n // 8


@pytest.mark.parametrize("name", ["nt_xent", "nt_xent_pair", "alignment_loss", "uniformity_loss"])
def test_chunk_bounds_what_is_made_at_a_time(name):
    n, chunk = 200, 8
    x, other = torch.randn(n, 4, requires_grad=True), torch.randn(n, 4, requires_grad=True)
    edges = torch.randint(n, (2, 5000))
    losses = {
        "nt_xent": lambda: nt_xent(x, edges[:, :n], chunk=chunk),
        "nt_xent_pair": lambda: nt_xent((x, other), edges[:, :n], chunk=chunk),
        "alignment_loss": lambda: alignment_loss(x, edges, chunk=chunk),
        "uniformity_loss": lambda: uniformity_loss(x, chunk=chunk),
    }
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        losses[name]().backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events()) // x.element_size()
    # A strip of eight rows, both sets of features, or one weight an edge.
    assert largest <= max(chunk * n, 2 * n * 4, edges.size(1))
