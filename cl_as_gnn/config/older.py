"""Names that earlier versions gave to settings and to what a run stores, as this version has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cl_as_gnn.errors import deprecated

_CONVOLUTIONS = ("gcn", "gat", "sage", "gin")
# Of version 0.1.
_METHODS = {"rewire": "nn_positives", "gat_rewire": "gat_nn_positives"}
_SHARPNESS = {"hardneg": "beta", "debiased": "beta", "align_uniform": "t"}
_QUEUES = ("meanshift", "nn_positives", "gat_nn_positives")


def renamed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a user with the names of this version, and a warning if there is an old one among them."""
    out = _convolution_named(tree)
    if out != tree:
        conv = out["encoder"]["conv"]
        deprecated(f"encoder.name={conv}", f"encoder.name=gnn encoder.conv={conv}", gone="0.4", stacklevel=1)  # once
    return out


def _convolution_named(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Before 0.3, ``encoder.name`` named the convolution of a GNN."""
    encoder = tree.get("encoder")
    if isinstance(encoder, Mapping) and encoder.get("name") in _CONVOLUTIONS:
        return {**tree, "encoder": {**encoder, "name": "gnn", "conv": encoder["name"]}}
    return dict(tree)


def stored_names(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a file of a run, also of one of version 0.1, with the names of this version."""
    tree = _convolution_named(tree)
    data, encoder, method = (
        dict(part) if isinstance(part := tree.get(key), Mapping) else {} for key in ("data", "encoder", "method")
    )
    _move(data, "normalize".replace("z", "s"), "normalize")  # in British spelling
    if str(encoder.get("name")).startswith("resnet"):
        encoder.pop("width", None)  # which did nothing
    if (name := str(method.get("name"))) in _METHODS:
        method["name"] = _METHODS[name]
    if name == "gcn":  # which took all edges before 0.3
        method = {"agreed": False, "gate": 0.3} | method
    _move(method, "bank_size", "queue_size")
    if name in _SHARPNESS:
        _move(method, "sharpness", _SHARPNESS[name])
    return tree | {key: part for key, part in (("data", data), ("encoder", encoder), ("method", method)) if part}


def stored_state(state: dict[str, Any], method: str) -> None:
    """Give the memory of a method the name that it has in this version, in the weights of a checkpoint."""
    if method in _QUEUES:
        for key in [key for key in state if key.startswith("method.bank.")]:
            _move(state, key, key.replace(".bank.", ".queue.", 1))


def _move(tree: dict[str, Any], old: str, new: str) -> None:
    if old in tree:
        tree.setdefault(new, tree.pop(old))
