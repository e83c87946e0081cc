"""Measures of tokens against dense float64 formulas, and the graph that they are measures of."""

import pytest
import torch

from cl_as_gnn.evaluation import connected_within, singular_values, tcas, token_counts, two_hop_purity
from cl_as_gnn.graph import co_occurrence_graph
from cl_as_gnn.graph.co_occurrence import joint, two_hops
from cl_as_gnn.graph.schema import CO_OCCURRENCE, CONTEXT_TOKEN

N, P, K, C = 12, 5, 6, 3
TOKEN = torch.randint(K - 1, (N, P), generator=torch.Generator().manual_seed(0))  # the last token does not occur
LABELS = torch.arange(N) % C
CONTEXT = torch.arange(N).repeat_interleave(P)


def dense():
    b = torch.zeros(N, K, dtype=torch.double)
    for i in range(N):
        for k in TOKEN[i]:
            b[i, k] += 1 / (N * P)
    return b


def test_tcas_is_its_formula():
    r = torch.stack([torch.stack([(TOKEN[c == LABELS] == k).sum() for c in range(C)]) for k in range(K)]).double()
    assert torch.equal(token_counts(TOKEN, LABELS, K, C), r)
    r = r[: K - 1] / r[: K - 1].square().sum(1, keepdim=True).sqrt()
    total = sum((float(r[i] @ r[j]) - (i == j)) ** 2 for i in range(K - 1) for j in range(K - 1))
    assert tcas(token_counts(TOKEN, LABELS, K, C)) == pytest.approx(total / (K - 1) ** 2, abs=1e-12)


def test_extremes_of_tcas_and_unknown_labels():
    assert tcas(torch.eye(4) * 7) == 0
    assert tcas(torch.ones(5, 3)) == pytest.approx(1 - 1 / 5)
    some = torch.where(torch.arange(N) < 6, LABELS, -1)
    assert torch.equal(token_counts(TOKEN, some, K, C), token_counts(TOKEN[:6], LABELS[:6], K, C))


def test_two_hops_and_their_purity_are_those_of_the_dense_graph():
    b = dense()
    torch.testing.assert_close(joint(CONTEXT, TOKEN.flatten(), N, K), b, atol=1e-12, rtol=0)
    share = b.sum(0)
    a = sum(torch.outer(b[:, k], b[:, k]) / share[k] for k in range(K) if share[k] > 0)
    torch.testing.assert_close(two_hops(b), a, atol=1e-12, rtol=0)
    assert float(a.sum()) == pytest.approx(1)
    same = LABELS[:, None] == LABELS
    assert two_hop_purity(token_counts(TOKEN, LABELS, K, C)) == pytest.approx(float(a[same].sum()), abs=1e-12)


def test_the_graph_has_both_hops():
    data = co_occurrence_graph(CONTEXT, TOKEN.flatten(), N, K)
    data.validate()
    b = dense()
    for kind, expected in ((CONTEXT_TOKEN, b), (CO_OCCURRENCE, two_hops(b).fill_diagonal_(0))):
        source, target = data[kind].edge_index
        found = torch.zeros_like(expected)
        found[target, source] = data[kind].edge_weight
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
        assert (data[kind].edge_weight > 0).all()


def test_connected_pairs_are_counted_one_by_one():
    b, met, pairs = dense(), 0, 0
    for i in range(N):
        for j in range(N):
            if i != j and LABELS[i] == LABELS[j]:
                pairs += 1
                met += bool(((b[i] > 0) & (b[j] > 0)).any())
    assert connected_within(b, LABELS) == pytest.approx(met / pairs)
    assert connected_within(torch.eye(4), torch.zeros(4, dtype=torch.long)) == 0


@pytest.mark.parametrize("tall", [True, False])
def test_singular_values_are_those_of_the_normalized_matrix(tall):
    b = dense() if tall else dense().t().contiguous()
    kept = b[b.sum(1) > 0][:, b.sum(0) > 0]
    scaled = kept.sum(1).rsqrt().diag() @ kept @ kept.sum(0).rsqrt().diag()
    expected = torch.linalg.svdvals(scaled)[:4]
    torch.testing.assert_close(torch.tensor(singular_values(b, 4)).double(), expected, atol=1e-6, rtol=0)
    assert expected[0] == pytest.approx(1)
