"""Methods that diffuse along a graph of samples against literal transcriptions of their losses, to 1e-10."""

import math

import pytest
import torch
import torch.nn.functional as F
from laws import SIZE, batch, check, cross_entropy, info_nce, make, nowhere, other_views, positives, rows, unit
from torch_geometric.data import Data

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY
from cl_as_gnn.methods import Batch
from cl_as_gnn.nn.terms import objective


@pytest.mark.parametrize("views", [2, 3])
def test_ncl_attracts_neighbours_in_the_graph(views):
    method = make("ncl", num_views=views, temperature=0.3, weight=0.4)
    x, links = unit(views), torch.tensor([[1, 2, 0, 5, 3], [0, 0, 2, 3, 5]])  # nodes 1, 4 and 6 have no neighbour
    batch = Batch(Data(links=links), torch.arange(SIZE), 0.0)
    parts = []
    for i in range(len(x)):
        sources = [j for j, target in links.t().tolist() if target == i % SIZE]
        near = [v * SIZE + j for j in sources for v in range(views)]
        share = [1.0, 0.0] if not near else [0.6, 0.4]
        others = torch.cat([x[:i], x[i + 1 :]])
        denominator = torch.logsumexp(x[i] @ others.t() / 0.3, 0)
        for part, own in zip(share, (other_views(i, views), near), strict=True):
            parts += [part / len(own) * (denominator - x[i] @ x[j] / 0.3) for j in own]
    check(method, x, method.rewire(view_graph(x, views), batch), sum(parts) / len(x), views=batch)
    with pytest.raises(ConfigError, match="edges of a graph of nodes"):
        method.rewire(view_graph(x, views), nowhere())


@pytest.mark.parametrize(("hops", "seen"), [(1, 20), (2, 20), (3, 15), (4, 20)])
def test_gcn_bank_is_cross_entropy_to_walks_over_the_whole_set(hops, seen):
    settings = {"num_hops": hops, "weight": 0.7, "affinity_temperature": 0.2, "gate": 0, "temperature": 0.3}
    method = make("gcn_bank", k=3, **settings)
    stored = F.normalize(rows(seen, seed=3).float(), dim=1)
    method.bank.write(torch.arange(seen), stored)
    x, views = unit(2), Batch(torch.empty(0), torch.tensor([3, 14, 1, 0, 12, 5, 9]), 0.9)
    method.begin_epoch(0.1)
    assert "sample" not in method.rewire(view_graph(x, 2, views.sample), views).node_types
    method.begin_epoch(0.9)
    data = method.rewire(view_graph(x, 2, views.sample), views)
    walk = torch.zeros(20, 20, dtype=torch.double)
    for i in range(seen):
        near = sorted((j for j in range(seen) if j != i), key=lambda j: -float(stored[i] @ stored[j]))[:3]
        walk[i, near] = (stored[near].double() @ stored[i].double() / 0.2).softmax(0)
    power = torch.linalg.matrix_power(walk, hops)[views.sample][:, views.sample].fill_diagonal_(0)
    total = power.sum(1, keepdim=True)
    assert (total > 0).any()
    diffused = torch.where(total > 0, power / total, 0).repeat(2, 2) / 2
    share = 0.7 * (total > 0).double().repeat(2, 1)
    target = 0.7 * diffused
    expected = -sum(
        (1 - share[i]) * (x[i] @ x[(i + SIZE) % len(x)]) / 0.3
        + target[i] @ (x @ x[i]) / 0.3
        - torch.cat([x[:i], x[i + 1 :]]).matmul(x[i]).div(0.3).logsumexp(0)
        for i in range(len(x))
    ) / len(x)
    loss = objective(x, *method.terms(data, views))
    # The affinity weights are kept in float32.
    torch.testing.assert_close(loss.detach(), expected.squeeze().detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0], atol=1e-6, rtol=0)
    method.update_memory(data)
    mean = F.normalize(x[:SIZE] + x[SIZE:], dim=1).float()
    torch.testing.assert_close(method.bank.features[0, views.sample], mean.detach())


def test_oracle_diffuses_along_edges_of_known_purity():
    method = make("oracle", k=2, num_hops=1, weight=0.7, purity=0.5, temperature=0.3)
    x, labels = unit(2), torch.tensor([0, 1, 0, 1, 0, 1, -1])
    views = nowhere(labels)
    data = method.rewire(view_graph(x, 2), views)
    edges = data[SAMPLE_AFFINITY]
    source, target = edges.edge_index[:, edges.edge_weight > 0].tolist()
    for i in range(6):
        found = [labels[j].item() == labels[i].item() for j, t in zip(source, target, strict=True) if t == i]
        assert sorted(found) == [False, True]
    assert 6 not in source + target
    own = info_nce(x, [other_views(i, 2) for i in range(len(x))], 0.3)
    positives = [
        [j + v * SIZE for j, t in zip(source, target, strict=True) if t == i % SIZE for v in (0, 1)] for i in range(14)
    ]
    alone = [[] if own else other_views(i, 2) for i, own in enumerate(positives)]
    expected = (
        12 * (0.3 * info_nce(x, [other_views(i, 2) * bool(positives[i]) for i in range(14)], 0.3))
        + (12 * 0.7 * info_nce(x, positives, 0.3) + 2 * info_nce(x, alone, 0.3))
    ) / 14
    assert own.item() != pytest.approx(expected.item())
    loss = objective(x, *method.terms(data, views))
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    with pytest.raises(ConfigError, match="expects labels"):
        method.rewire(view_graph(x, 2), nowhere())


@pytest.mark.parametrize("views", [2, 3])
def test_gcn_is_cross_entropy_to_diffused_targets(views):
    method = make(
        "gcn",
        num_views=views,
        temperature=0.3,
        k=2,
        num_hops=3,
        weight=0.7,
        affinity_temperature=0.2,
        agreed=False,
        gate=0,
    )
    x = unit(views)
    data = method.rewire(view_graph(x, views), nowhere())
    prototypes = F.normalize(x.detach().view(views, SIZE, -1).mean(0), dim=1)
    cosine = (prototypes @ prototypes.t()).fill_diagonal_(-math.inf)
    kept = cosine.topk(2).indices
    walk = torch.full_like(cosine, -math.inf).scatter_(1, kept, cosine.gather(1, kept) / 0.2).softmax(1)
    power = torch.linalg.matrix_power(walk, 3).fill_diagonal_(0)
    power /= power.sum(1, keepdim=True)
    diffused = torch.kron(torch.full((views, views), 1 / views, dtype=torch.double), power)
    target = 0.3 * positives(views) / (views - 1) + 0.7 * diffused
    expected = cross_entropy(target, x, 0.3)
    views_ = nowhere()
    loss = objective(x, *method.terms(data, views_))
    # The affinity weights are kept in float32.
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-6, rtol=0)
    (message,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(message, torch.autograd.grad(expected, x)[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("agreed", "agreement", "share"), [(False, 0.35, 0.5), (True, 0.31, 1 / 3)])
def test_gcn_opens_its_gate_by_the_agreement_of_the_views_neighbourhoods(agreed, agreement, share):
    """Views with neighbours of their own: SimCLR. The same neighbours: λ in full. Between: a share of it."""
    settings = {"k": 2, "agreed": agreed, "gate": 0.3}
    open_, gated, simclr = (
        make(n, **s) for n, s in (("gcn", settings | {"gate": 0}), ("gcn", settings), ("simclr", {}))
    )
    views = nowhere()

    def loss(method, x):
        return objective(x, *method.terms(method.rewire(view_graph(x, 2), views), views)).item()

    first = unit(2)[:SIZE]
    apart = torch.cat([first, unit(2, seed=5)[:SIZE]])
    assert loss(gated, apart) == pytest.approx(loss(simclr, apart))
    same = torch.cat([first, first])
    assert loss(gated, same) == pytest.approx(loss(open_, same))
    data = gated.rewire(view_graph(same, 2), views)
    data[SAMPLE_AFFINITY].agreement = torch.tensor(agreement)  # in full at 0.4, or 0.33
    between = objective(same, *gated.terms(data, views)).item()
    assert between == pytest.approx(share * loss(open_, same) + (1 - share) * loss(simclr, same))


def test_gcn_is_simclr_before_its_start():
    gcn, simclr = make("gcn", start=0.5, gate=0), make("simclr")
    simclr.load_state_dict(gcn.state_dict())
    early, late = batch(gcn, progress=0.4), batch(gcn, progress=0.6)
    assert gcn(early)[0].item() == simclr(early)[0].item()
    assert gcn(late)[0].item() != simclr(late)[0].item()
