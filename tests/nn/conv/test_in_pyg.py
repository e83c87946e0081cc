"""The layers inside PyG's own containers: HeteroConv, to_hetero, assert_module."""

import pytest
import torch
from torch_geometric.nn import HeteroConv, to_hetero
from torch_geometric.testing import assert_module

from cl_as_gnn.nn import AlignmentConv, ContrastiveConv, HardestPositiveConv, SpectralConv, UniformityConv

EDGES = torch.tensor([[0, 1, 1, 2, 3, 4, 0, 4], [1, 0, 2, 1, 4, 3, 4, 0]])
TAGS = ("tag", "of", "item")
ITEMS = ("item", "near", "item")
LAYERS = [AlignmentConv, UniformityConv, ContrastiveConv, HardestPositiveConv, SpectralConv]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layout_of_the_edges(layer):
    torch.manual_seed(0)
    assert_module(layer(), torch.randn(6, 3), EDGES, expected_size=(6, 3), atol=1e-6)
    pair = (torch.randn(6, 3), torch.randn(5, 3))
    assert_module(layer(), pair, EDGES, expected_size=(5, 3), atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
def test_two_relations_one_of_them_bipartite(layer):
    torch.manual_seed(0)
    x = {"tag": torch.randn(3, 4), "item": torch.randn(5, 4)}
    edges = {TAGS: torch.tensor([[0, 1, 2, 2], [0, 0, 3, 1]]), ITEMS: EDGES}
    conv = HeteroConv({TAGS: layer(), ITEMS: layer()}, aggr="sum")
    conv.reset_parameters()
    out = conv(x, edges)["item"]
    expected = layer()((x["tag"], x["item"]), edges[TAGS]) + layer()(x["item"], EDGES)
    torch.testing.assert_close(out, expected)
    assert (out - 2 * x["item"]).abs().max() > 0.01


def test_weights_and_affinity_edges_reach_the_layers_of_a_hetero_conv():
    torch.manual_seed(1)
    x, edges = {"tag": torch.randn(3, 4), "item": torch.randn(5, 4)}, {TAGS: torch.tensor([[0, 1], [0, 0]])}
    conv = HeteroConv({TAGS: AlignmentConv(1.0, normalize=False)})
    out = conv(x, edges, edge_weight_dict={TAGS: torch.tensor([2.0, 3.0])})["item"]
    torch.testing.assert_close(out[0], 2 * x["tag"][0] + 3 * x["tag"][1])
    affinity = torch.tensor([[2], [0]])
    conv = HeteroConv({TAGS: ContrastiveConv(repel="affinity", step_size=1.0)})
    out = conv(x, edges, affinity_index_dict={TAGS: affinity})["item"]
    pulled = (x["tag"][0] + x["tag"][1]) / 2**0.5
    torch.testing.assert_close(out[0], pulled + x["item"][0] - x["tag"][2])


def test_bipartite_contrastive_update_is_the_formula():
    torch.manual_seed(2)
    source, target = torch.randn(6, 3, dtype=torch.double), torch.randn(4, 3, dtype=torch.double)
    edges = torch.tensor([[0, 5, 2], [0, 0, 3]])
    out = ContrastiveConv(0.7, 0.4)((source, target), edges)
    a = torch.zeros(4, 6, dtype=torch.double)
    a[edges[1], edges[0]] = torch.tensor([0.5**0.5, 0.5**0.5, 1.0], dtype=torch.double)
    share = (target @ source.t() / 0.7).softmax(1)
    expected = target + 0.4 * (a @ source - target) * (a.sum(1) > 0)[:, None] + 0.4 * (target - share @ source)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="use symmetric=False"):
        ContrastiveConv(symmetric=True)((source, target), edges)
    with pytest.raises(ValueError, match="got a pair: pass batch=None"):
        UniformityConv()((source, target), batch=torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("layer", LAYERS)
def test_targets_without_features_and_the_size(layer):
    torch.manual_seed(3)
    x, conv = torch.randn(5, 3), layer()
    expected = conv((x, torch.zeros(5, 3)), EDGES)
    assert torch.equal(conv((x, None), EDGES, size=(5, 5)), expected)
    assert torch.equal(conv(x, EDGES, size=(5, 5)), conv(x, EDGES))
    for wrong, given in (((x, None), None), ((x, x), (5, 6)), (x, (4, 4))):
        with pytest.raises(ValueError, match=f"{layer.__name__} expects size as"):
            conv(wrong, EDGES, size=given)


@pytest.mark.parametrize("layer", [AlignmentConv, ContrastiveConv, HardestPositiveConv, SpectralConv, UniformityConv])
def test_a_static_graph_is_so_many_copies(layer):
    torch.manual_seed(5)
    conv, x = layer(), torch.randn(3, 5, 4, requires_grad=True)
    out = conv(x, EDGES)
    expected = torch.stack([conv(copy, EDGES) for copy in x])
    torch.testing.assert_close(out, expected)
    way = torch.randn_like(out)
    gradients = [torch.autograd.grad(value, x, way)[0] for value in (out, expected)]
    torch.testing.assert_close(*gradients)
    for wrong, given, message in (
        (x[:0], EDGES, "at least one copy"),
        (x, EDGES.flip(0) + 9, "below 5"),
        (x, torch.eye(5).to_sparse(), "in a static graph"),
        (x.long(), EDGES, "as floating-point features"),
    ):
        with pytest.raises(ValueError, match=f"{layer.__name__} expects .*{message}"):
            conv(wrong, given)


def test_a_static_graph_of_several_graphs_and_with_weights():
    torch.manual_seed(6)
    x, batch, edges = torch.randn(2, 5, 4), torch.tensor([0, 0, 4, 4, 4]), torch.tensor([[0, 1, 2, 4], [1, 0, 3, 2]])
    for conv in (ContrastiveConv(), ContrastiveConv(repel="affinity"), UniformityConv(), SpectralConv()):
        more = {"affinity_index": edges} if getattr(conv, "repel", "") == "affinity" else {}
        expected = torch.stack([conv(copy, edges, batch=batch, **more) for copy in x])
        torch.testing.assert_close(conv(x, edges, batch=batch, **more), expected)
    conv, weight = AlignmentConv(), torch.rand(4)
    torch.testing.assert_close(conv(x, edges, weight)[1], conv(x[1], edges, edge_weight=weight))
    other, pair = torch.randn(2, 3, 4), torch.tensor([[0, 1, 2, 4], [1, 0, 2, 2]])
    torch.testing.assert_close(conv((x, other), pair, size=(5, 3))[1], conv((x[1], other[1]), pair))
    with pytest.raises(ValueError, match="SpectralConv expects x as one set of nodes in a static graph"):
        SpectralConv()((x, other), pair)
    with pytest.raises(ValueError, match="UniformityConv expects batch as integers"):
        UniformityConv()(x, batch=batch[:0])


@pytest.mark.parametrize("layer", LAYERS)
def test_to_hetero_runs_one_layer_per_edge_type(layer):
    torch.manual_seed(4)
    x = {"tag": torch.randn(3, 4), "item": torch.randn(5, 4)}
    edges = {TAGS: torch.tensor([[0, 1, 2, 2], [0, 0, 3, 1]]), ITEMS: EDGES, ("item", "has", "tag"): EDGES[:, :3]}

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = layer()

        def forward(self, x, edge_index):
            return self.conv(x, edge_index)

    out = to_hetero(Model(), (list(x), list(edges)))(x, edges)
    torch.testing.assert_close(out["tag"], layer()((x["item"], x["tag"]), EDGES[:, :3]))
    expected = layer()((x["tag"], x["item"]), edges[TAGS]) + layer()(x["item"], EDGES)
    torch.testing.assert_close(out["item"], expected)
