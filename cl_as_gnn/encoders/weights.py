"""Weights that a network starts from: read from a file, and loaded as far as they fit."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cl_as_gnn.errors import ConfigError


def read_weights(path: str) -> dict[str, Tensor]:
    """Read a state dict from safetensors, or from a file of ``torch.save`` without running code that is in it.

    Raises:
        ConfigError: there is no such file, or it holds no weights.
    """
    if not Path(path).is_file():
        raise ConfigError(f"encoder.weights={path}: there is no such file")
    from timm.models import load_state_dict

    try:
        state = load_state_dict(path, weights_only=True)
    except Exception as error:  # safetensors and pickle raise types of their own
        reason = str(error).partition("\n")[0][:80]
        raise ConfigError(
            f"encoder.weights={path} cannot be read ({type(error).__name__}: {reason}): name a file of safetensors or "
            "a state dict of torch.save"
        ) from None
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise ConfigError(f"encoder.weights={path} holds no weights: name a file with a state dict")
    return state


def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: str) -> list[str]:
    """Load the tensors whose names and shapes fit, and return one line on those that do not, if there are any.

    Names may have a prefix, such as ``module.`` or ``encoder.``: the one under which most names fit is removed.
    timm's models first convert the weights themselves, for example the positions to another number of patches.

    Raises:
        ConfigError: no parameter fits.
    """
    own = network.state_dict()
    state = _converted(_unprefixed(state, own), network)
    fits = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
    if not fits.keys() & dict(network.named_parameters()).keys():
        raise ConfigError(
            f"encoder.weights={source} fits nothing in the encoder: it holds {_shapes(state)}, and the encoder expects "
            f"{_shapes(own)}: name weights of the same model"
        )
    network.load_state_dict(fits, strict=False)
    lacks, spare = ([name for name in names if name not in fits] for names in (own, state))
    parts = []
    if lacks:
        parts.append(f"random in the encoder: {_listed(lacks)}")
    if spare:
        parts.append(f"left out of the file: {_listed(spare)}")
    return [f"encoder.weights={source}: {len(fits)} of {len(own)} tensors loaded; {'; '.join(parts)}"] if parts else []


def _unprefixed(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        found.update(".".join([*parts[:i], ""]) * (i > 0) for i in range(len(parts)) if ".".join(parts[i:]) in own)
    prefix = found.most_common(1)[0][0] if found else ""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _converted(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    # By timm's convention the function stands beside the class of the model.
    convert: Any = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        with torch.no_grad():
            converted: dict[str, Tensor] = convert(dict(state), network)
    except Exception:  # it expects whole checkpoints of its model; what fits is loaded all the same
        return state
    return converted


def _shapes(state: Mapping[str, Tensor], most: int = 2) -> str:
    some = [f"{name} ({' × '.join(map(str, value.shape))})" for name, value in list(state.items())[:most]]
    return ", ".join([*some, "…"] if len(state) > most else some)


def _listed(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
