"""Edges run from row 0, the source, to row 1, the target that is attracted: one law for everything that has edges."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data, HeteroData

from cl_as_gnn.graph import (
    FeatureKNN,
    FeatureQueue,
    NearestPositives,
    NeighborPositives,
    SameLabelEdges,
    SampleAffinity,
    knn_edges,
    view_graph,
)
from cl_as_gnn.graph.schema import AUGMENTATION, NEAREST, REWIRED, SAMPLE_AFFINITY
from cl_as_gnn.nn import (
    AlignmentConv,
    ContrastiveConv,
    HardestPositiveConv,
    PositiveAttention,
    SpectralConv,
    UniformityConv,
    functional,
)
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction

NODES = 8
PAIRS = st.tuples(st.integers(0, 3), st.integers(4, 7))  # no node is both a source and a target
EDGES = st.lists(PAIRS, min_size=1, max_size=8, unique=True).map(lambda pairs: torch.tensor(pairs).t())
FLIPPED = EDGES.map(lambda edges: 7 - edges)
GRAPHS = st.one_of(EDGES, FLIPPED)


def rows(seed=0, count=NODES):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 5, dtype=torch.double, generator=generator), dim=1)


def moved(before, after):
    return set((after - before).abs().amax(1).gt(1e-9).nonzero().view(-1).tolist())


def attend(x, edges):
    return AlignmentConv(normalize=False)(x, edges, PositiveAttention()(x, edges))


LAYERS = {
    "AlignmentConv": AlignmentConv(),
    "UniformityConv": UniformityConv(),
    "ContrastiveConv": lambda x, edges: ContrastiveConv(repel="affinity")(x, edges, edges[:, :0]),
    "HardestPositiveConv": HardestPositiveConv(),
    "PositiveAttention": attend,
    "SpectralConv": lambda x, edges: SpectralConv()(x, edges) - SpectralConv()(x, edges[:, :0]) + x,
    "Adjacency": lambda x, edges: x + Adjacency(edges, num_nodes=NODES).matmul(x),
}


@settings(max_examples=20, deadline=None)
@given(GRAPHS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_move_only_targets(name, edges):
    x = rows()
    assert moved(x, LAYERS[name](x, edges)) == set(edges[1].tolist())


@settings(max_examples=20, deadline=None)
@given(GRAPHS)
def test_attention_sums_to_one_at_each_target(edges):
    weight = PositiveAttention(3.0)(rows(), edges)
    total = torch.zeros(NODES, dtype=torch.double).index_add(0, edges[1], weight)
    assert set(total.nonzero().view(-1).tolist()) == set(edges[1].tolist())
    torch.testing.assert_close(total[edges[1]], torch.ones_like(weight))


def test_a_fixed_source_attracts_targets():
    edges, x = torch.tensor([[5, 0, 2], [1, 3, 1]]), rows(count=4)
    _, message = Attraction(Adjacency(edges, num_nodes=(6, 4)), source=rows(1, 6))(x)
    assert moved(torch.zeros_like(x), message) == {1, 3}


LOSSES = {
    "nt_xent": functional.nt_xent,
    "alignment_loss": functional.alignment_loss,
    "spectral_contrastive_loss": functional.spectral_contrastive_loss,
}


@settings(max_examples=20, deadline=None)
@given(GRAPHS)
@pytest.mark.parametrize("name", LOSSES)
def test_row_zero_of_a_pair_indexes_the_sources(name, edges):
    """With the sources detached, another source of one edge changes the gradient at the target of that edge alone."""
    source, target = rows(), rows(1).requires_grad_()

    def gradient(positive):
        edge = torch.tensor([[positive], [2]])
        loss = LOSSES[name]((source, target), torch.cat([edges, edge], dim=1))
        return torch.autograd.grad(loss, target)[0]

    assert moved(gradient(7), gradient(5)) == {2}


@settings(max_examples=20, deadline=None)
@given(GRAPHS)
def test_the_anchors_of_nt_xent_are_row_one(edges):
    """The loss of one graph is the mean over its edges of −log softmax in the rows of the targets."""
    x = rows()
    logits = (x @ x.t() / 0.5).fill_diagonal_(-torch.inf)
    expected = (logits.logsumexp(1)[edges[1]] - logits[edges[1], edges[0]]).mean()
    torch.testing.assert_close(functional.nt_xent(x, edges), expected)
    torch.testing.assert_close(functional.nt_xent((x, rows(1)), edges), _info_nce(x, rows(1), edges))


def _info_nce(source, target, edges):
    logits = target @ source.t() / 0.5
    return (logits.logsumexp(1)[edges[1]] - logits[edges[1], edges[0]]).mean()


def hetero(x):
    data = HeteroData()
    data["item"].x = x
    return data


def queue(x):
    bank = FeatureQueue(len(x), x.size(1))
    bank.push(x, torch.arange(len(x)))
    return bank


NEIGHBOURS = {
    "knn_edges": lambda x: knn_edges(x, 1)[0],
    "FeatureKNN": lambda x: FeatureKNN(1, replace=True)(Data(x=x)).edge_index,
    "FeatureKNN, hetero": lambda x: FeatureKNN(1, node_type="item")(hetero(x))["item", "affinity", "item"].edge_index,
    "NearestPositives": lambda x: NearestPositives()(Data(x=x)).positive_index,
    "NearestPositives, hetero": lambda x: (
        NearestPositives(node_type="item")(hetero(x))["item", NEAREST, "item"].edge_index
    ),
    "SampleAffinity": lambda x: SampleAffinity(1)(view_graph(x.repeat(2, 1), 2))[SAMPLE_AFFINITY].edge_index,
}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbours_send_to_the_node_that_chose_them(name, seed):
    x = rows(seed).float()
    nearest = (x @ x.t()).fill_diagonal_(-2).argmax(1)
    source, target = NEIGHBOURS[name](x)
    assert target.tolist() == list(range(NODES)), "every node receives once"
    assert torch.equal(source, nearest)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_neighbours_of_a_positive_send_to_its_anchor(seed):
    x, bank = rows(seed).float(), queue(rows(seed + 1).float())
    data = NeighborPositives(bank)(view_graph(x, 2))
    source, target = data[REWIRED].edge_index
    positive, anchor = data[AUGMENTATION].edge_index
    assert torch.equal(target, anchor)
    nearest = (x @ bank.features.t()).argmax(1)
    assert torch.equal(data["neighbour"].sample[source], nearest[positive])
    assert torch.equal(data["neighbour"].x, bank.features[data["neighbour"].sample])


def test_drawn_positives_send_to_the_node_that_drew_them():
    torch.manual_seed(0)
    y = torch.zeros(30, dtype=torch.long)
    edges = SameLabelEdges(1, mask=None)(Data(y=y)).positive_index
    assert torch.bincount(edges[1], minlength=30).tolist() == [1] * 30
    assert torch.bincount(edges[0], minlength=30).max() > 1
