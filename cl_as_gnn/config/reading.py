"""From YAML files and ``key=value`` overrides to the tree, and back to YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cl_as_gnn.config.messages import one_line
from cl_as_gnn.config.tree import RunConfig
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import DATASETS, METHODS

# Taken as they are written: YAML would read 2024-05-01 as a date and 007 as 7.
_FOLDERS = ("run_dir", "data.root")


def load_config(path: Path | str | None = None, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a YAML file (none: the defaults), apply ``key=value`` overrides with dots, check everything.

    Raises:
        ConfigError: one line that names the key, the value and the cure.
    """
    file = read_yaml(path) if path else {}
    given = parse_overrides(overrides)
    try:
        return build_config(merge(file, given))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}" if path and _wrong(file) == str(error) else str(error)) from None


def _wrong(tree: Mapping[str, Any]) -> str | None:
    """What is wrong with a tree by itself."""
    try:
        build_config(tree)
    except ConfigError as error:
        return str(error)
    return None


def build_config(tree: Mapping[str, Any]) -> RunConfig:
    """Check a nested mapping and freeze it. Settings that it leaves open come from the recipe of its data set."""
    tree = merge(_recipe(tree), tree)
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(one_line(error, tree)) from None


def _recipe(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings that a data set brings, given the sections of a config that name it and the method."""
    data, method = (tree[key] if isinstance(tree.get(key), Mapping) else {} for key in ("data", "method"))
    name = data.get("name", DATASETS.default)
    return DATASETS[name].recipe(data, method.get("name")) if isinstance(name, str) and name in DATASETS else {}


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A YAML file as a nested mapping, or ConfigError."""
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}: name a YAML file; settings are written key=value") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error.__class__.__name__}") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ConfigError(f"{path}{line} is not YAML: {getattr(error, 'problem', error)}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds {type(tree).__name__}, a config is a mapping of sections (data:, method:, …)")
    return tree


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """``["optim.lr=0.1", "seed=3"]`` as ``{"optim": {"lr": 0.1}, "seed": 3}``; values are read as YAML."""
    tree: dict[str, Any] = {}
    for item in overrides:
        key, sign, text = item.partition("=")
        if not sign or not key:
            raise ConfigError(f"{item!r} is not a setting: write key=value, for example trainer.epochs=50")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(
                f"the value of {key}={text} cannot be read: quote it, or write a list as [a, b]"
            ) from None
        if key in _FOLDERS:
            value = value if value is None or isinstance(value, str) else text
        elif isinstance(value, str):
            value = _number(value)
        branch: dict[str, Any] = {}
        leaf = branch
        *parents, last = key.split(".")
        for name in parents:
            leaf[name] = leaf = {}
        leaf[last] = value
        tree = merge(tree, branch)
    return tree


def _number(text: str) -> Any:
    """YAML 1.1 reads 1e-3 as a string; people write it all the same."""
    try:
        return float(text) if any(c in "eE" for c in text) and text[:1] in "+-.0123456789" else text
    except ValueError:
        return text


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """``top`` over ``base``, section by section; a method of another name keeps the settings that both share."""
    out = dict(base)
    for key, value in top.items():
        old = out.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            if key == "method" and value.get("name", old.get("name")) != old.get("name"):
                old = _shared_settings(old, str(value["name"]))
            out[key] = merge(old, value)
        else:
            out[key] = value
    return out


def _shared_settings(old: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a method takes over from another: settings of the same name and default, such as the temperature."""
    names = str(old.get("name", METHODS.default)), name
    if any(name not in METHODS for name in names):
        return {}
    before, after = (METHODS[name].Config.model_fields for name in names)
    return {
        key: value
        for key, value in old.items()
        if key in after and key in before and after[key].default == before[key].default and key != "name"
    }


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping to dotted keys."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out |= flatten(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def to_yaml(config: RunConfig) -> str:
    """The resolved tree, as it is kept in a run folder."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
