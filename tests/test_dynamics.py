"""The simulation against the theorems it illustrates, and the command that draws it."""

import pytest
import torch
from PIL import Image
from torch_geometric.utils import to_dense_adj

from cl_as_gnn.dynamics import (
    QUANTITIES,
    REGIMES,
    collapse_distance,
    component_basis,
    draw,
    simulate,
    spectral_bound,
)
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.nn import AlignmentConv, ContrastiveConv


def two_components(loops):
    """A path of four, a triangle and a node alone, float64."""
    adjacency = torch.zeros(8, 8, dtype=torch.float64)
    for i, j in ((0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (4, 6)):
        adjacency[i, j] = adjacency[j, i] = 1
    return adjacency + torch.eye(8, dtype=torch.float64) * loops


@pytest.fixture(scope="module")
def short():
    return simulate(num_points=30, steps=300, seed=1)


@pytest.mark.parametrize("loops", [0, 1])
@pytest.mark.parametrize("step_size", [0.1, 0.5, 0.9])
def test_alignment_collapses_at_the_rate_of_the_theorem(loops, step_size):
    adjacency = two_components(loops)
    basis, q = component_basis(adjacency), spectral_bound(adjacency, step_size)
    assert basis.shape == (8, 3)
    assert 0 < q < 1
    layer, edge_index = AlignmentConv(step_size), adjacency.nonzero().t()
    torch.manual_seed(0)
    start = x = torch.randn(8, 3, dtype=torch.float64)
    for t in range(1, 201):
        x = layer(x, edge_index)
        assert collapse_distance(x, basis) <= q**t * collapse_distance(start, basis) + 1e-13
        assert torch.allclose(basis.t() @ x, basis.t() @ start, rtol=0, atol=1e-12), "the collapsed part is kept"
    assert collapse_distance(start, basis) > 1


def test_the_bound_is_reached():
    """One edge: I - Ā has eigenvalues 0 and 2, and the one mode that decays is the bound itself."""
    adjacency = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    assert spectral_bound(adjacency, 0.3) == pytest.approx(0.4, abs=1e-14)
    x = AlignmentConv(0.3)(torch.tensor([[1.0], [-1.0]], dtype=torch.float64), adjacency.nonzero().t())
    assert torch.allclose(x, torch.tensor([[0.4], [-0.4]], dtype=torch.float64), atol=1e-14)
    assert spectral_bound(torch.eye(3), 0.3) == 0, "nothing is left to decay"


def test_the_simulation_of_alignment_obeys_the_bound():
    seen = simulate(num_points=15, steps=80, every=1)
    adjacency = to_dense_adj(seen.edge_index, max_num_nodes=30)[0].double()
    distance = seen.curve("align", "distance")
    assert torch.equal(seen.steps, torch.arange(81))
    assert (distance <= spectral_bound(adjacency, 0.1) ** seen.steps.double() * distance[0] * (1 + 1e-12)).all()
    assert seen.curve("align", "energy")[-1] < 0.1 * seen.curve("align", "energy")[0]


def test_one_component_collapses_to_one_point():
    seen = simulate(num_points=10, steps=300, radius=100)
    last = seen.features[0, -1]
    assert (last - last.mean(0)).abs().max() < 1e-12
    assert seen.curve("align", "rank")[-1] == pytest.approx(1, abs=1e-9)


def test_the_graph_is_the_points_within_the_radius(short):
    seen = to_dense_adj(short.edge_index, max_num_nodes=60)[0].bool()
    square = (short.points[:, None] - short.points[None]).square().sum(2)
    assert torch.equal(seen, square <= 0.16)
    assert seen.diagonal().all(), "self-loops are in"
    assert short.features[:, 0].abs().max() <= 1


def test_uniformity_alone_spreads(short):
    std = short.curve("uniformity", "std")
    assert std[-1] > 1.2 * std[0]
    assert std.min() >= std[0], "it never collapses"
    assert short.curve("uniformity", "energy")[-1] > 0.4
    assert short.curve("uniformity", "rank")[-1] > 1.9


def test_both_come_to_rest_without_collapse(short):
    assert torch.isfinite(short.features).all()
    assert short.features[2].norm(dim=-1).max() < 10
    mismatch = short.curve("both", "mismatch")
    assert mismatch[-1] < mismatch[0] / 10
    assert short.curve("both", "std")[-1] > 0.5 * short.curve("both", "std")[0]
    assert short.curve("align", "std")[-1] < 0.6 * short.curve("align", "std")[0]


@pytest.mark.parametrize("diagonal", [True, False])
def test_where_the_graph_is_the_attention_nothing_moves(diagonal):
    torch.manual_seed(0)
    x = torch.randn(12, 3, dtype=torch.float64)
    logits = x @ x.t() / 0.7
    if not diagonal:
        logits.fill_diagonal_(-torch.inf)
    attention = torch.softmax(logits, dim=1)
    layer = ContrastiveConv(temperature=0.7, step_size=0.5)
    layer.normalize = False
    nodes = (x, x) if diagonal else x
    assert (layer(nodes, attention.to_sparse_coo()) - x).abs().max() < 1e-12
    other = torch.softmax(2 * logits, dim=1)
    assert (layer(nodes, other.to_sparse_coo()) - x).abs().max() > 1e-2


def test_without_self_attention_features_grow_without_end():
    bounded, growing = (simulate(steps=100, diagonal=diagonal).features[1, -1] for diagonal in (True, False))
    assert bounded.norm(dim=1).max() < 10
    assert growing.norm(dim=1).max() > 100


def test_a_seed_gives_the_same_run(short):
    again = simulate(num_points=30, steps=300, seed=1)
    assert torch.equal(again.features, short.features)
    assert not torch.equal(simulate(num_points=30, steps=1, seed=2).points, short.points)


def test_curves_and_records(short):
    assert short.steps[0] == 0
    assert short.steps[-1] == 300
    assert short.features.shape == (3, len(short.steps), 60, 2)
    assert short.values.shape == (3, len(short.steps), len(QUANTITIES))
    rows = short.table()
    assert [row[0] for row in rows] == list(QUANTITIES.values())
    for i, regime in enumerate(REGIMES):
        assert rows[3][2][i] == short.curve(regime, "std")[-1]
        assert rows[3][1] == short.curve(regime, "std")[0], "all begin alike"
    with pytest.raises(KeyError):
        short.curve("both", "loss")


def test_the_picture_has_a_panel_each(short):
    titles = [axes.get_title() for axes in draw(short).axes]
    assert len(titles) == 10
    assert all(any(name in title for title in titles) for name in (*REGIMES.values(), *QUANTITIES.values()))


@pytest.mark.parametrize("given", [{"num_points": 0}, {"steps": 0}, {"step_size": -1.0}, {"radius": float("nan")}])
def test_a_number_out_of_range_is_named(given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        simulate(**given)


def test_a_step_that_is_too_large_is_named():
    with pytest.raises(RunError, match="step size below 1e"):
        simulate(num_points=5, steps=50, step_size=1e12)


@pytest.mark.parametrize("adjacency", [torch.ones(2, 3), torch.ones(3), torch.triu(torch.ones(3, 3)), -torch.eye(2)])
def test_an_adjacency_must_be_symmetric_and_not_negative(adjacency):
    with pytest.raises(ValueError, match="expects a s"):
        spectral_bound(adjacency, 0.1)


def test_the_command_prints_a_table_and_draws(clgnn, tmp_path):
    code, out, err = clgnn("dynamics", "--points", 20, "--steps", 30, "--seed", 3, "--out", "d.png")
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    seen = simulate(num_points=20, steps=30, seed=3)
    for title, first, last in seen.table():
        line = next(line for line in out.splitlines() if line.startswith(title))
        assert line.removeprefix(title).split() == [f"{value:.3g}" for value in (first, *last)]
    assert Image.open(tmp_path / "d.png").size[0] > 1500


def test_the_command_fails_in_one_line(clgnn):
    for words, said in (
        (("--out", "d.txt"), "d.png"),
        (("--step-size", 0), "step_size is 0"),
        (("--points", 1), "--points"),
    ):
        code, _, err = clgnn("dynamics", *words)
        assert code == 2
        assert said in err
        assert len(err.splitlines()) == 1
    assert clgnn("dynamics", "--points", 2, "--steps", 1, "--out", "no/such/d.png")[0] == 1
