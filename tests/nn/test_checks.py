"""Misuse of every public callable, one argument at a time: an error of ours, in one line, that names both.

A table of calls with the kind of each argument, and of the wrong values of each kind.
"""

import math
import traceback
import warnings

import pytest
import torch
from torch_geometric.data import Data, HeteroData

from cl_as_gnn import evaluation, graph, nn
from cl_as_gnn.graph import transforms
from cl_as_gnn.nn import functional

CLEAR = 0.95
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
EDGES = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4]])
GROUP = torch.tensor([0, 0, 1, 1, 2, 2])
WEIGHT = torch.tensor([1.0, 2, 1, 2, 1, 2])
MASK = torch.tensor([True, False] * 3)
QUEUE, BANK = graph.FeatureQueue(8, 4), graph.SampleBank(6, 4)
QUEUE.push(X, torch.arange(6))
BANK.write(torch.arange(6), X)
WALK = transforms.bank_walk(BANK, 2, 0.5)
NODES = Data(x=X, edge_index=EDGES, y=GROUP, train_mask=MASK)
TOKENS = torch.tensor([[0, 1], [0, 1], [1, 2], [1, 2], [2, 0], [2, 0]])
B = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)) + 0.1


def views():
    return graph.view_graph(X, 2)


THINGS = {"None": None, "a string": "no", "a list": ["no"]}
NUMBERS = {**THINGS, "NaN": math.nan, "two numbers": torch.ones(2), "complex": 1j}


def _features(x):
    """Of a type that has no direction or no gradient, of another shape, elsewhere."""
    return {**_real(x), "integers": x.long()}


def _real(x):
    shapes = {"one row": x[0], "a stack": x[None]}
    return {**THINGS, **shapes, "complex": x.to(torch.complex64), "an array": x.numpy()}


def _edges(e):
    shapes = {"one row": e[0], "transposed": e.t(), "empty rows": e[:0]}
    values = {"too high": e + 5, "negative": e - 1}
    return {**THINGS, **shapes, **values, "floats": e.float(), "bool": e.bool(), **_elsewhere(e)}


def _whole(i):
    return {**THINGS, "short": i[1:], "one row more": i.unsqueeze(1), "floats": i.float(), "complex": i * 1j}


def _elsewhere(x):
    return {"elsewhere": x.to("meta")}


def _without_none(wrong):
    """Of an argument that may be ``None``."""
    return {label: value for label, value in wrong.items() if value is not None}


def _weight(w):
    shapes, values = {"short": w[1:], "a column": w[:, None]}, {"complex": w * 1j, "negative": -w, "NaN": w * math.nan}
    return {**_without_none(THINGS), **_elsewhere(w), **shapes, **values}


KINDS = {
    "features": _features,
    "real": _real,
    "paired": lambda x: {**_real(x), "one row fewer": x[1:]},
    "alike": lambda x: {**_features(x), "one row fewer": x[1:], **_elsewhere(x)},
    "width": lambda x: {**_real(x), "one column fewer": x[:, 1:]},
    "finite": lambda x: {**_real(x), "NaN": x * math.nan, "no rows": x[:0]},
    "edges": _edges,
    "optional_edges": lambda e: _without_none(_edges(e)),
    "weight": _weight,
    "batch": lambda b: {**_without_none(_whole(b)), **_elsewhere(b)},
    "labels": _whole,
    "indices": lambda i: {**_whole(i), "too high": i + 99, "negative": i - 99},
    "class": lambda i: {k: v for k, v in _whole(i).items() if k != "short"},
    "mask": lambda m: {**THINGS, "short": m[1:], "indices": m.long(), "floats": m.float()},
    "number": lambda v: NUMBERS,
    "positive": lambda v: {**NUMBERS, "zero": 0, "negative": -v, "bool": True},
    "probability": lambda v: {**NUMBERS, "negative": -0.1, "above 1": 1.1},
    "size": lambda v: {**NUMBERS, "negative": -1, "half": 1.5, "bool": True},
    "count": lambda v: {**NUMBERS, "zero": 0, "negative": -1, "half": 1.5, "bool": True},
    "optional": lambda v: _without_none(KINDS["count"](v)),
    "choice": lambda v: {**THINGS, "a number": 3, "near": f"{v}s"},
    "flag": lambda v: {**THINGS, "two": 2},
    "data": lambda d: {**THINGS, "a tensor": X, "a dict": {}, "empty": Data()},
    "views": lambda d: {**THINGS, "a tensor": X, "a dict": {}, "empty": HeteroData(), "a Data": NODES},
    "queue": lambda q: {**THINGS, "a tensor": X},
    "shares": lambda s: {**THINGS, "a number": 0.5, "negative": [-1.0, 1.0], "zeros": [0.0, 0.0], "NaN": [math.nan, 1]},
    "seen": lambda s: {"a string": "no", "short": s[:, 1:], "one row": s[0], "complex": s * 1j},
    "numbers": lambda i: {k: v for k, v in KINDS["indices"](i).items() if k != "short"},
    "optional_labels": lambda i: _without_none(_whole(i)),
    "device": lambda v: {"a string": "no", "a list": ["no"], "a float": 0.5},
    "wide": lambda x: {k: v for k, v in KINDS["width"](x).items() if k not in ("one row", "a stack")},
    "tokens": lambda t: {**KINDS["class"](t), "too high": t + 99, "negative": t - 99, "one row": t[0]},
    "counts": lambda v: {**THINGS, "zero": [0], "half": [1.5], "a number": 1, "text": ["1"], "too many": [9]},
    "folds": lambda v: {**KINDS["count"](v), "one": 1, "too many": 99},
    "matrix": lambda a: {**THINGS, "dense": a.to_dense(), "complex": a * 1j},
}


RIGHT = {
    **dict.fromkeys(("features", "alike", "real", "paired", "width", "wide", "finite"), X),
    **dict.fromkeys(("edges", "optional_edges"), EDGES),
    **dict.fromkeys(("batch", "labels", "indices", "numbers", "class"), GROUP),
    **dict.fromkeys(("number", "positive", "probability"), 0.5),
    **dict.fromkeys(("count", "size", "optional"), 3),
    "weight": WEIGHT,
    "mask": MASK,
    "flag": False,
    "data": NODES,
}


def built(make):
    """The keyword arguments of a constructor, and of its calls."""
    return lambda **args: make()(**args)


def two_views(loss):
    return lambda **args: loss()(*args.values())


def row(call, arguments, **values):
    """A callable, and the kind and right value of each argument."""
    kinds = [part.split(":") for part in arguments.split()]
    return call, {name: (kind, values.get(name, RIGHT.get(kind))) for name, kind in kinds}


EDGED, WEIGHTED = "x:features edge_index:edges", "edge_index:edges edge_weight:weight"
JUDGED = "train_x:finite train_y:labels test_x:width test_y:labels"
CALLS = {
    "AlignmentConv": row(nn.AlignmentConv, "step_size:number num_hops:count normalize:flag"),
    "AlignmentConv.forward": row(built(nn.AlignmentConv), "x:features edge_index:edges edge_weight:weight"),
    "AlignmentConv.gather": row(nn.AlignmentConv().gather, "x:features edge_index:edges"),
    "UniformityConv": row(nn.UniformityConv, "temperature:positive step_size:number"),
    "UniformityConv.forward": row(built(nn.UniformityConv), "x:features batch:batch"),
    "UniformityConv.forward, edges": row(built(nn.UniformityConv), "x:features edge_index:optional_edges batch:batch"),
    "ContrastiveConv": row(
        nn.ContrastiveConv,
        "temperature:positive step_size:number num_hops:count repel:choice symmetric:flag",
        repel="complete",
    ),
    "ContrastiveConv.forward": row(built(nn.ContrastiveConv), f"{EDGED} affinity_index:optional_edges batch:batch"),
    "HardestPositiveConv": row(nn.HardestPositiveConv, "step_size:number similarity:choice", similarity="cosine"),
    "HardestPositiveConv.forward": row(built(nn.HardestPositiveConv), "x:features edge_index:edges"),
    "PositiveAttention": row(nn.PositiveAttention, "sharpness:number normalize:choice", normalize="anchor"),
    "PositiveAttention.forward": row(built(nn.PositiveAttention), "x:features edge_index:edges"),
    "SpectralConv": row(nn.SpectralConv, "step_size:number normalize:flag"),
    "SpectralConv.forward": row(built(nn.SpectralConv), "x:features edge_index:edges edge_weight:weight batch:batch"),
    "StageAggregation": row(
        nn.StageAggregation, "weights:shares mode:choice sharpness:number", weights=[0.5, 0.5], mode="fixed"
    ),
    "StageAggregation.forward": row(
        built(nn.StageAggregation),
        "stages:features seen:seen",
        stages=torch.stack([X, X]),
        seen=torch.ones(2, 6, dtype=torch.bool),
    ),
    "ContraNorm": row(
        nn.ContraNorm,
        "in_channels:count scale:number temperature:positive linear:flag identity:flag layer_norm:flag eps:positive",
        in_channels=4,
        scale=0.1,
        temperature=1.0,
        eps=1e-05,
    ),
    "ContraNorm.forward": row(built(lambda: nn.ContraNorm(4)), "x:width batch:batch batch_size:optional"),
    "NTXentLoss": row(nn.NTXentLoss, "temperature:positive gather_distributed:flag"),
    "NTXentLoss.forward": row(two_views(nn.NTXentLoss), "views[0]:features views[1]:alike"),
    "SpectralContrastiveLoss": row(nn.SpectralContrastiveLoss, "mu:positive gather_distributed:flag"),
    "SpectralContrastiveLoss.forward": row(two_views(nn.SpectralContrastiveLoss), "views[0]:features views[1]:alike"),
    "SupConLoss": row(nn.SupConLoss, "temperature:positive gather_distributed:flag"),
    "SupConLoss.forward": row(built(nn.SupConLoss), "embeddings:features labels:labels"),
    "PairNTXentLoss": row(nn.PairNTXentLoss, "temperature:positive gather_distributed:flag"),
    "PairNTXentLoss.forward": row(built(nn.PairNTXentLoss), "embeddings:features labels:labels"),
    "BarlowTwinsLoss": row(nn.BarlowTwinsLoss, "off_diagonal:number gather_distributed:flag"),
    "BarlowTwinsLoss.forward": row(two_views(nn.BarlowTwinsLoss), "views[0]:features views[1]:alike"),
    "VICRegLoss": row(nn.VICRegLoss, "invariance:number variance:number covariance:number gather_distributed:flag"),
    "VICRegLoss.forward": row(two_views(nn.VICRegLoss), "views[0]:features views[1]:alike"),
    "DCLLoss": row(nn.DCLLoss, "temperature:positive gather_distributed:flag"),
    "DCLLoss.forward": row(two_views(nn.DCLLoss), "views[0]:features views[1]:alike"),
    "SimSiamLoss.forward": row(built(nn.SimSiamLoss), "prediction:features target:alike"),
    "CLIPLoss": row(nn.CLIPLoss, "temperature:positive max_scale:positive"),
    "CLIPLoss.forward": row(two_views(nn.CLIPLoss), "first:features second:alike"),
    "SigLIPLoss": row(nn.SigLIPLoss, "scale:positive bias:number"),
    "SigLIPLoss.forward": row(two_views(nn.SigLIPLoss), "first:features second:alike"),
    "nt_xent": row(functional.nt_xent, f"x:features {WEIGHTED} temperature:positive batch:batch chunk:optional"),
    "alignment_loss": row(functional.alignment_loss, f"x:features {WEIGHTED} alpha:positive chunk:optional"),
    "uniformity_loss": row(functional.uniformity_loss, "x:features t:positive batch:batch chunk:optional"),
    "spectral_contrastive_loss": row(
        functional.spectral_contrastive_loss, f"x:features {WEIGHTED} mu:positive batch:batch"
    ),
    "augmentation_edges": row(graph.augmentation_edges, "num_samples:size num_views:count device:device", device="cpu"),
    "view_graph": row(
        graph.view_graph, "x:real num_views:count sample:optional_labels affinity_k:optional", sample=torch.arange(2)
    ),
    "knn_edges": row(graph.knn_edges, "x:real k:count backend:choice", backend="auto"),
    "graph.view_agreement": row(graph.view_agreement, "x:real num_views:count k:count", k=1),
    "sample_prototypes": row(transforms.sample_prototypes, "x:real num_views:count"),
    "co_occurrence_graph": row(
        graph.co_occurrence_graph, "context:numbers token:indices num_contexts:count num_tokens:count"
    ),
    "FeatureQueue": row(graph.FeatureQueue, "size:count dim:count"),
    "FeatureQueue.push": row(
        lambda **args: graph.FeatureQueue(8, 4).push(**args), "x:width sample:labels", sample=torch.arange(6)
    ),
    "FeatureQueue.nearest": row(QUEUE.nearest, "x:width k:count", k=1),
    "SampleBank": row(graph.SampleBank, "num_samples:count dim:count stages:count"),
    "SampleBank.read": row(BANK.read, "sample:numbers", sample=torch.arange(6)),
    "SampleBank.write": row(BANK.write, "sample:indices x:wide", sample=torch.arange(6)),
    "DropEdges": row(graph.DropEdges, "p:probability force_undirected:flag"),
    "DropEdges.forward": row(built(graph.DropEdges), "data:data"),
    "DropNodes": row(graph.DropNodes, "p:probability"),
    "DropNodes.forward": row(built(graph.DropNodes), "data:data"),
    "MaskFeatures": row(graph.MaskFeatures, "p:probability mode:choice", mode="col"),
    "MaskFeatures.forward": row(built(graph.MaskFeatures), "data:data"),
    "TwoViews": row(graph.TwoViews, "drop_edge:probability mask_feature:probability batch:flag"),
    "TwoViews.forward": row(built(graph.TwoViews), "data:data"),
    "FeatureKNN": row(graph.FeatureKNN, "k:count replace:flag"),
    "FeatureKNN.forward": row(built(lambda: graph.FeatureKNN(2)), "data:data"),
    "NearestPositives": row(graph.NearestPositives, "k:count mutual:flag", k=1),
    "NearestPositives.forward": row(built(graph.NearestPositives), "data:data"),
    "SameLabelEdges": row(graph.SameLabelEdges, "max_positives:optional"),
    "SameLabelEdges.forward": row(built(graph.SameLabelEdges), "data:data"),
    "SampleAffinity": row(graph.SampleAffinity, "k:count temperature:positive"),
    "SampleAffinity.forward": row(built(lambda: graph.SampleAffinity(2)), "data:views", data=views()),
    "NeighborPositives": row(graph.NeighborPositives, "bank:queue k:count", bank=QUEUE, k=1),
    "NeighborPositives.forward": row(built(lambda: graph.NeighborPositives(QUEUE)), "data:views", data=views()),
    "bank_walk": row(transforms.bank_walk, "bank:queue k:count temperature:positive", bank=BANK),
    "restricted_diffusion": row(
        transforms.restricted_diffusion,
        "walk:matrix num_hops:count nodes:numbers",
        walk=WALK,
        nodes=torch.tensor([0, 2, 4]),
    ),
    "oracle_edges": row(
        transforms.oracle_edges, "label:class sample:labels k:count purity:probability", sample=torch.arange(6)
    ),
    "alignment": row(evaluation.alignment, "x:paired y:paired alpha:positive"),
    "uniformity": row(evaluation.uniformity, "x:finite t:positive chunk:count"),
    "effective_rank": row(evaluation.effective_rank, "x:finite center:flag"),
    "feature_spread": row(evaluation.feature_spread, "x:finite"),
    "view_agreement": row(evaluation.view_agreement, "x:paired y:paired chunk:count"),
    "shared_information": row(evaluation.shared_information, "x:paired y:paired k:count"),
    "dirichlet_energy": row(evaluation.dirichlet_energy, "x:finite edge_index:edges edge_weight:weight chunk:count"),
    "graph_mismatch": row(evaluation.graph_mismatch, f"x:finite {WEIGHTED} temperature:positive loops:flag"),
    "edge_purity": row(evaluation.edge_purity, "edge_index:edges edge_weight:weight labels:class"),
    "LinearProbe": row(evaluation.LinearProbe, "x:finite y:labels C:positive max_iter:count"),
    "LinearProbe.accuracy": row(evaluation.LinearProbe(X, GROUP).accuracy, "x:width y:labels"),
    "linear_probe": row(evaluation.linear_probe, f"{JUDGED} C:positive max_iter:count"),
    "few_label_probe": row(evaluation.few_label_probe, f"{JUDGED} per_class:count draws:count", per_class=1),
    "knn_accuracy": row(
        evaluation.knn_accuracy,
        "bank:finite bank_labels:labels query:width query_labels:labels k:count temperature:positive chunk:count",
    ),
    "knn_predict": row(
        evaluation.knn_predict, "bank:finite bank_labels:labels query:width k:count temperature:positive top:count"
    ),
    "leave_one_out_knn": row(
        evaluation.leave_one_out_knn, "features:finite labels:labels k:count temperature:positive"
    ),
    "validated_probe": row(
        evaluation.validated_probe, "x:finite y:labels train:mask validation:mask test:mask", test=~MASK
    ),
    "cross_validated_svm": row(
        evaluation.cross_validated_svm, "x:finite y:labels folds:folds", x=X.repeat(5, 1), y=GROUP.repeat(5), folds=2
    ),
    "span_coordinates": row(evaluation.span_coordinates, "x:real train:mask"),
    "affinity_graph": row(evaluation.affinity_graph, "x:finite k:count temperature:positive"),
    "propagate": row(
        evaluation.propagate,
        "graph:matrix y:paired alpha:probability steps:count",
        graph=evaluation.affinity_graph(X, 2),
        y=torch.eye(6),
    ),
    "propagated_accuracy": row(
        evaluation.propagated_accuracy, f"{JUDGED} per_class:counts draws:count k:count", per_class=[1]
    ),
    "regression_error": row(
        evaluation.regression_error, "train_x:finite train_y:paired test_x:width test_y:paired penalty:positive"
    ),
    "view_weight": row(evaluation.view_weight, "x:paired y:paired labels:labels temperature:positive k:count"),
    "token_counts": row(
        evaluation.token_counts, "token:tokens labels:labels num_tokens:count num_classes:count", token=TOKENS
    ),
    "tcas": row(evaluation.tcas, "counts:real", counts=B),
    "two_hop_purity": row(evaluation.two_hop_purity, "counts:real", counts=B),
    "connected_within": row(evaluation.connected_within, "b:real labels:labels", b=B),
    "singular_values": row(evaluation.singular_values, "b:real count:count", b=B),
}


def misuses():
    for name, (call, kinds) in CALLS.items():
        valid = {argument: value for argument, (_, value) in kinds.items()}
        for argument, (kind, value) in kinds.items():
            for label, wrong in KINDS[kind](value).items():
                if label == "elsewhere" and call.__module__.startswith("cl_as_gnn.evaluation"):
                    continue  # a measure moves what it gets
                owner = name.removeprefix("graph.").split(".")[0]
                yield name, argument, label, f"{owner} expects {argument}", call, {**valid, argument: wrong}


def verdict(words, call, arguments):
    """Nothing for a clear error, or what is unclear."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(**arguments)
    except Exception as error:
        said, raised = str(error), traceback.extract_tb(error.__traceback__)[-1].filename
        if isinstance(error, ValueError) and "/cl_as_gnn/" in raised and words in said and ", got " in said:
            return "\n" in said and "lines"
        return f"{type(error).__name__}: {said.partition(chr(10))[0][:110]}"
    return "accepted"


def test_every_public_callable_is_in_the_table():
    named = {name.removeprefix("graph.").split(".")[0] for name in CALLS}
    losses = {name for name, f in vars(functional).items() if getattr(f, "__module__", "") == functional.__name__}
    public = {*nn.__all__, *losses, *graph.__all__, *transforms.__all__, *evaluation.__all__}
    assert {name for name in public - named if name[0] != "_"} == {"functional", "Probe"}


@pytest.mark.filterwarnings("ignore")
def test_the_calls_themselves_are_right():
    for call, kinds in CALLS.values():
        call(**{argument: value for argument, (_, value) in kinds.items()})


def test_misuse_is_one_line_that_names_callable_and_argument():
    found = [(name, argument, label, verdict(*wrong)) for name, argument, label, *wrong in misuses()]
    unclear = [f"{name}({argument}: {label}): {said}" for name, argument, label, said in found if said]
    share = 1 - len(unclear) / len(found)
    print(f"{len(found)} misuses, {share:.1%} clear", *unclear, sep="\n")  # noqa: T201
    assert len(found) > 2000
    assert share >= CLEAR
