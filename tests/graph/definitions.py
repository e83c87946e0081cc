"""What graph functions and transforms promise, checked in float64 on what they return.

Each check calls its function on features ``x`` and the options ``c``. Of equally near neighbors any may be chosen, and
what is drawn may be any: what is returned is held to its definition, not to one value.
"""

import runpy
from collections import Counter
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch_geometric.data import Data

from cl_as_gnn import graph
from cl_as_gnn.graph.knn import nearest_components
from cl_as_gnn.graph.schema import AFFINITY, AUGMENTATION, CO_OCCURRENCE, CONTEXT_TOKEN, REWIRED, SAMPLE_AFFINITY
from cl_as_gnn.graph.transforms import bank_walk, oracle_edges, restricted_diffusion, sample_prototypes

formulas = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "nn" / "formulas.py")))
SLACK = 1e-5


def close(got, expected, slack=SLACK):
    torch.testing.assert_close(got.double(), expected.double(), atol=slack, rtol=slack)


def check_neighbors(edges, x, k, batch=None, similarity=None):
    """Every row has its k nearest others of the same graph, none of them twice."""
    z = formulas.unit(x.double())
    cosine, others = z @ z.t(), formulas.others(batch, len(x))
    for i in range(len(x)):
        source = edges[0][edges[1] == i]
        count = min(k, int(others[i].sum()))
        assert len(source) == len(set(source.tolist())) == count
        assert others[i][source].all()
        close(cosine[i][source].sort(descending=True).values, cosine[i][others[i]].topk(count).values)
        if similarity is not None:
            close(similarity[edges[1] == i], cosine[i][source], 2e-2 if similarity.dtype.itemsize == 2 else SLACK)


def knn(x, c):
    edges, similarity = graph.knn_edges(x, c["k"], c["backend"])
    check_neighbors(edges, x, c["k"], similarity=similarity)


def components(x, c):
    found = nearest_components(x)
    edges = graph.knn_edges(x, 1)[0].numpy() if len(x) > 1 else torch.empty(2, 0, dtype=torch.long).numpy()
    _, label = connected_components(coo_array(([1] * edges.shape[1], edges), (len(x), len(x))), directed=False)
    for i, j in combinations(range(len(x)), 2):
        assert (found[i] == found[j]) == (label[i] == label[j])
    assert (found[found] == found).all()


def views(x, c):
    data = graph.view_graph(x, c["views"], affinity_k=c["k"])
    assert torch.equal(data["view"].x, x)
    sample = torch.arange(len(x)) % max(len(x) // c["views"], 1)
    pairs = {(i, j) for i in range(len(x)) for j in range(len(x)) if i != j and sample[i] == sample[j]}
    assert sorted(pairs) == sorted(map(tuple, data[AUGMENTATION].edge_index.t().tolist()))
    check_neighbors(data[AFFINITY].edge_index, x, c["k"], similarity=data[AFFINITY].edge_weight)


def means(x, views):
    """Prototypes in float64, and how much rounding of the views may turn them."""
    mean = formulas.unit(x.double()).reshape(views, len(x) // views, x.size(1)).mean(0)
    return formulas.unit(mean), mean.norm(dim=1)


def prototypes(x, c):
    got = sample_prototypes(x, c["views"])
    expected, length = means(x, c["views"])
    settled = (length > 1e-3) | (length == 0)
    close(got[settled], expected[settled], 1e-3)


def agreement(x, c):
    got = graph.view_agreement(x, c["views"], c["k"])
    size = len(x) // c["views"]
    if c["k"] >= size - 1 or c["views"] < 2:
        assert got == 0
        return None
    found = []
    for view in x.double().chunk(c["views"]):
        cosine = (formulas.unit(view) @ formulas.unit(view).t()).fill_diagonal_(-2)
        best = cosine.topk(c["k"] + 1, 1)
        if (best.values[:, -2] - best.values[:, -1] < SLACK).any():
            return "ties"
        found.append([set(row[:-1]) for row in best.indices.tolist()])
    pairs = [len(a[s] & b[s]) for a, b in combinations(found, 2) for s in range(size)]
    chance = c["k"] / (size - 1)
    share = sum(pairs) / max(len(pairs), 1) / c["k"]
    close(got, torch.tensor((share - chance) / (1 - chance)))
    return None


def sample_affinity(x, c):
    data = graph.SampleAffinity(c["k"], c["tau"])(graph.view_graph(x, c["views"]))
    edges, size = data[SAMPLE_AFFINITY], len(x) // c["views"]
    rows, k = data["sample"].x, min(c["k"], size - 1)
    assert torch.equal(rows, sample_prototypes(x, c["views"]))
    if size < 2:
        assert edges.edge_index.shape == (2, 0)
        return
    check_neighbors(edges.edge_index, rows, k)
    close(edges.agreement, graph.view_agreement(x, c["views"], k))
    source, target = edges.edge_index
    logits = (formulas.unit(rows.double())[source] * formulas.unit(rows.double())[target]).sum(1) / c["tau"]
    shape = (size, k)
    close(edges.edge_weight.view(shape), logits.view(shape).softmax(1), SLACK * (1 + 1 / c["tau"]))


def feature_knn(x, c):
    data = Data(x=x, edge_index=c["edges"]) if c["flag"] else Data(x=x)
    if c["batch"] is not None:
        data.batch = c["batch"]
    out = graph.FeatureKNN(c["k"])(data)
    new = graph.FeatureKNN(c["k"], replace=True)(Data(x=x, batch=c["batch"]) if c["batch"] is not None else Data(x=x))
    check_neighbors(new.edge_index, x, c["k"], c["batch"], new.edge_weight)
    if not c["flag"]:
        assert torch.equal(out.edge_index, new.edge_index)
        return
    old, count = set(map(tuple, c["edges"].t().tolist())), c["edges"].size(1)
    added = list(map(tuple, out.edge_index[:, count:].t().tolist()))
    assert torch.equal(out.edge_index[:, :count], c["edges"])
    assert set(added) == set(map(tuple, new.edge_index.t().tolist())) - old
    assert len(added) == len(set(added))


def nearest_positives(x, c):
    data = Data(x=x, batch=c["batch"]) if c["batch"] is not None else Data(x=x)
    every = graph.NearestPositives(c["k"])(data.clone()).positive_index
    check_neighbors(every, x, c["k"], c["batch"])
    mutual = graph.NearestPositives(c["k"], mutual=True)(data).positive_index
    pairs = set(map(tuple, every.t().tolist()))
    assert set(map(tuple, mutual.t().tolist())) == {(i, j) for i, j in pairs if (j, i) in pairs}


def same_label(x, c):
    mask = c["draw"](len(x)) < 0.7
    data = Data(x=x, y=c["label"], train_mask=mask)
    got = list(map(tuple, graph.SameLabelEdges(c["limit"])(data).positive_index.t().tolist()))
    usable = mask & (c["label"] >= 0)
    n, label = len(x), c["label"]
    every = {(i, j) for i in range(n) for j in range(n) if i != j and usable[i] and usable[j] and label[i] == label[j]}
    assert len(got) == len(set(got))
    if c["limit"] is None:
        assert set(got) == every
    else:
        into = Counter(j for _, j in got)
        assert set(got) <= every
        assert all(into[j] <= c["limit"] for j in range(n))
        assert {j for _, j in every} == set(into), "a node that has positives gets one"


def numbered(x, c):
    edges = c["edges"]
    return Data(x=x, edge_index=edges, number=torch.arange(len(x)), edge_attr=torch.arange(edges.size(1)))


def drop_edges(x, c):
    out = graph.DropEdges(c["p"])(numbered(x, c))
    kept = out.edge_attr
    assert torch.equal(out.edge_index, c["edges"][:, kept])
    assert (kept.diff() > 0).all()
    if c["p"] in (0, 1):
        assert len(kept) == (1 - c["p"]) * c["edges"].size(1)
    both = torch.cat([c["edges"], c["edges"].flip(0)], 1).unique(dim=1)
    pairs = Counter(map(tuple, graph.DropEdges(c["p"], True)(Data(x=x, edge_index=both)).edge_index.t().tolist()))
    assert set(pairs) <= set(map(tuple, both.t().tolist()))
    assert all(pairs[j, i] == count == 1 for (i, j), count in pairs.items())


def drop_nodes(x, c):
    data = numbered(x, c)
    data.positive_index = c["edges"].flip(0)
    out = graph.DropNodes(c["p"])(data)
    kept = out.number
    assert torch.equal(out.x, x[kept])
    inside = torch.isin(c["edges"], kept).all(0)
    place = torch.full((len(x),), -1).scatter_(0, kept, torch.arange(len(kept)))
    assert torch.equal(out.edge_attr, inside.nonzero().view(-1))
    assert torch.equal(out.edge_index, place[c["edges"][:, inside]])
    assert torch.equal(out.positive_index, place[c["edges"][:, inside]].flip(0))


def mask_features(x, c):
    for mode, dim in (("col", 0), ("row", 1), ("all", None)):
        out = graph.MaskFeatures(c["p"], mode)(Data(x=x)).x
        hidden = (out != x) | ((x == 0) if dim is None else torch.zeros_like(x, dtype=torch.bool))
        assert (out[hidden] == 0).all()
        if dim is not None:  # a line is hidden as a whole, or not at all
            assert ((out != x).any(dim) <= (out == 0).all(dim)).all()
        if c["p"] in (0, 1):
            assert torch.equal(out, x * (1 - c["p"]))


def two_views(x, c):
    data = numbered(x, c)
    out = graph.TwoViews(c["p"], c["p"], batch=True)(data)
    n, view = len(x), out.batch
    assert torch.equal(out.number, torch.arange(n).repeat(2))
    of = view[out.edge_index[0]] if n else out.edge_index[0]
    assert torch.equal(out.edge_index - n * of, c["edges"][:, out.edge_attr])
    assert ((out.x == 0) | (out.x == x.repeat(2, 1))).all()
    assert torch.equal(data.edge_index, c["edges"])


def co_occurrence(x, c):
    context, token = c["pairs"]
    out = graph.co_occurrence_graph(context, token, 4, 3)
    b = torch.zeros(4, 3).double()
    for i, k in zip(context.tolist(), token.tolist(), strict=True):
        b[i, k] += 1 / len(context)
    a = sum((b[:, k, None] * b[:, k] / b[:, k].sum() for k in range(3) if b[:, k].any()), torch.zeros(4, 4))
    for kind, dense, shape in ((CONTEXT_TOKEN, b, (4, 3)), (CO_OCCURRENCE, a.double().fill_diagonal_(0), (4, 4))):
        got = torch.zeros(shape).double()
        got[out[kind].edge_index[1], out[kind].edge_index[0]] = out[kind].edge_weight
        close(got, dense, 1e-12)
        assert (out[kind].edge_weight > 0).all()


def neighbor_positives(x, c):
    queue = graph.FeatureQueue(6, x.size(1))
    queue.push(c["rows"][:, : x.size(1)], torch.arange(len(c["rows"])))
    data = graph.NeighborPositives(queue, c["k"])(graph.view_graph(x, c["views"]))
    cosine, k = formulas.unit(x.double()) @ queue.features.double().t(), c["k"]  # 0 with a slot never written
    rows = data["neighbour"].x.view(len(x), k, x.size(1)).double()
    valid = data["neighbour"].sample.view(len(x), k) >= 0
    for i in range(len(x)):
        own = rows[i] @ formulas.unit(x.double())[i]
        close(own.sort(descending=True).values, cosine[i].topk(k).values)
    assert not rows[~valid].any()
    any_valid = valid.any(1).view(c["views"], -1)
    other = (any_valid.sum(0) - any_valid.int() > 0).flatten()
    weight = torch.zeros(len(x)).double().index_add(0, data[REWIRED].edge_index[1], data[REWIRED].edge_weight.double())
    close(weight, other.double())
    source, target = data[REWIRED].edge_index
    if len(source):
        sample = torch.arange(len(x)) % (len(x) // c["views"])
        assert (sample[source // c["k"]] == sample[target]).all()
        assert (source // c["k"] != target).all()


def oracle(x, c):
    label, n, k = c["label"], len(x), c["k"]
    (source, target), weight = oracle_edges(label, torch.arange(n), k, c["p"])
    live = weight > 0
    source, target, weight = source[live], target[live], weight[live]
    assert (source != target).all()
    assert (label[torch.cat([source, target])] >= 0).all()
    assert len(set(zip(source.tolist(), target.tolist(), strict=True))) == len(source)
    for i in range(n):
        own = source[target == i]
        right, wrong = int((label[own] == label[i]).sum()), int((label[own] != label[i]).sum())
        alike = int(((label == label[i]) & (label >= 0)).sum()) - 1
        others = int(((label != label[i]) & (label >= 0)).sum())
        share = k * c["p"]
        if label[i] >= 0:
            allowed = {int(share // 1), min(int(share // 1) + (share % 1 > 0), k)}
            assert any(right == min(r, alike) and wrong == min(k - r, others) for r in allowed)
        if len(own):
            close(weight[target == i], torch.full((len(own),), 1 / len(own)))


def diffusion(x, c):
    bank = graph.SampleBank(len(x), x.size(1))
    bank.write(torch.arange(len(x)), x.float())
    walk = bank_walk(bank, c["k"], c["tau"])
    if len(x) < 2:
        assert walk is None
        return
    dense = walk.to_dense().double()
    close(dense.sum(1), torch.ones(len(x)))
    source, target = walk.indices().flip(0)
    check_neighbors(torch.stack([source, target]), bank.features[0], min(c["k"], len(x) - 1))
    nodes = torch.arange(len(x)).flip(0)[: max(1, len(x) - 1)]
    edges, weight = restricted_diffusion(walk, c["hops"], nodes)
    power = torch.linalg.matrix_power(dense, c["hops"])[nodes][:, nodes].fill_diagonal_(0)
    total = power.sum(1, keepdim=True)
    got = torch.zeros_like(power)
    got[edges[1], edges[0]] = weight.double()
    close(got, torch.where(total > 0, power / total.clamp(min=1e-300), 0), 1e-4)


CASES = {
    "knn_edges": knn,
    "nearest_components": components,
    "view_graph": views,
    "sample_prototypes": prototypes,
    "view_agreement": agreement,
    "SampleAffinity": sample_affinity,
    "FeatureKNN": feature_knn,
    "NearestPositives": nearest_positives,
    "SameLabelEdges": same_label,
    "DropEdges": drop_edges,
    "DropNodes": drop_nodes,
    "MaskFeatures": mask_features,
    "TwoViews": two_views,
    "co_occurrence_graph": co_occurrence,
    "NeighborPositives": neighbor_positives,
    "oracle_edges": oracle,
    "restricted_diffusion": diffusion,
}
