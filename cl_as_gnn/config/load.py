"""From YAML files and ``key=value`` overrides to the tree of settings; one line for what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from cl_as_gnn.config.older import renamed
from cl_as_gnn.config.tree import SECTIONS, RunConfig, section_of
from cl_as_gnn.errors import ConfigError, unknown
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS, Registry

# Kept as written: YAML would read 2024-05-01 as a date and 007 as 7.
_FOLDERS = ("run_dir", "data.root", "data.cache", "data.generator", "eval.root", "eval.transfer")
# By pydantic's name of the error, which fills in the braces.
_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list, as in [1, 2]"),
    **dict.fromkeys(("model_type", "dict_type"), "settings, as in {key}.NAME=value"),
    "finite_number": "a finite number",
    "string_type": "a name",
    "path_type": "a path: quote what YAML would read as a number or a date",
    "multiple_of": "a multiple of {multiple_of}",
    "invalid_key": "names of settings, as in {key}.NAME=value",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_long": "a list of {max_length}",
    "too_short": "a list of at least {min_length}",
    "missing": "to be set",
}


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
        if path:
            _check_file(path, file, str(error))
        raise


def _check_file(path: Path | str, tree: Mapping[str, Any], message: str) -> None:
    """Name the file in the message if the mistake is in it, not in the overrides."""
    try:
        build_config(tree)
    except ConfigError as error:
        if str(error) == message:
            raise ConfigError(f"{path}: {message}") from None


def build_config(tree: Mapping[str, Any]) -> RunConfig:
    """Check a nested mapping and freeze it. The recipes of its data set and its method fill in what it leaves open.

    A ``data.root`` without a ``data.name`` is a folder of images.
    """
    tree = renamed(tree)
    data, method = (tree[key] if isinstance(tree.get(key), Mapping) else {} for key in ("data", "method"))
    if data.get("root") is not None and data.get("name") is None:
        data = {**data, "name": "folder"}
        tree = {**tree, "data": data}
    name = data.get("name", DATASETS.default)
    if isinstance(name, str) and name in DATASETS:
        tree = merge(DATASETS[name].recipe(data, method.get("name")), tree)
        chosen = method.get("name", METHODS.default)
        if DATASETS[name].holds == "images" and isinstance(chosen, str) and chosen in METHODS:
            tree = merge(METHODS[chosen].recipe(method), tree)
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_one_line(error, tree)) from None


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
            cure = "quote it, or write a list as [a, b]"
            raise ConfigError(f"the value of {key}={text} cannot be read: {cure}") from None
        if key in _FOLDERS:
            value = value if value is None or isinstance(value, str) else text
        elif isinstance(value, str):
            value = _number(value)
        _check_sections({key: value})
        for part in reversed(key.split(".")):
            value = {part: value}
        tree = _overlay(tree, value)
    return tree


def _number(text: str) -> Any:
    """YAML 1.1 reads 1e-3 as a string."""
    try:
        return float(text) if any(c in "eE" for c in text) and text[:1] in "+-.0123456789" else text
    except ValueError:
        return text


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """``top`` over ``base``, section by section. A method or an encoder of another name takes over the settings of the
    same name and default, such as the temperature."""
    base, top = renamed(base), renamed(top)
    for tree in (base, top):
        _check_sections(tree)
    for key, registry, default in (("method", METHODS, METHODS.default), ("encoder", ENCODERS, None)):
        old, new = base.get(key), top.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            before, after = old.get("name", default), new.get("name")
            if before is not None and after is not None and before != after:
                base[key] = _shared_settings(old, registry, str(before), str(after))
    return _overlay(base, top)


def _check_sections(tree: Mapping[str, Any]) -> None:
    """Raise ConfigError for a name in place of a section, which other settings of the section would replace."""
    for key in SECTIONS:
        if isinstance(value := tree.get(key), str):
            raise ConfigError(f"{key}={value}: a section expects settings, write {key}.name={value}")


def _overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in top.items():
        old = out.get(key)
        out[key] = _overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


def _shared_settings(old: Mapping[str, Any], registry: Registry[Any], before: str, after: str) -> dict[str, Any]:
    if before not in registry or after not in registry:
        return {}
    was, now = registry[before].Config.model_fields, registry[after].Config.model_fields
    shared = {key for key in was.keys() & now.keys() if was[key].default == now[key].default} - {"name"}
    return {key: value for key, value in old.items() if key in shared}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping to dotted keys."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


def to_yaml(config: RunConfig) -> str:
    """The resolved tree, as a run folder keeps it."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _one_line(error: ValidationError, tree: Mapping[str, Any]) -> str:
    """The first error of a tree of settings: the key, the value and the cure."""
    errors = error.errors()
    named = _key(_location(errors[0]))
    # Of the types of a union, the one that fits farthest.
    rivals = [e for e in errors if _key(_location(e)) == named]
    first = max(rivals, key=lambda e: (len(e["loc"]), e["type"].startswith("too_")))
    location, value = _location(first), first["input"]
    key = _key(location)
    if isinstance(value, bool) or value is None:  # as in YAML
        value = "null" if value is None else str(value).lower()
    if first["type"] == "extra_forbidden":
        names = list(_model(location, tree).model_fields)
        where = _key(location[:-1])
        cure = f"{where or 'the top'} has {', '.join(names)}"
        if close := difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.6):
            cure = f"did you mean {'.'.join(filter(None, [where, close[0]]))}?"
        return f"unknown setting {key}={value}: {cure}"
    message = told(first, _length(location, tree))
    # A message about several keys names them itself.
    if message.startswith("unknown ") or re.match(r"(data|encoder|method|trainer)\.\w+=", message):
        return message
    if first["type"] == "literal_error":
        return unknown("value", str(value), re.findall(r"'([^']*)'", first["ctx"]["expected"]), key=key)
    return f"{key}={value}: {message}"


def told(first: Any, length: int | None = None) -> str:
    """What one of pydantic's errors expects instead of the value; ``length`` is that of the list around the value."""
    kind, text = first["type"], str(first["msg"])
    if kind == "missing" and length is not None:
        return f"expects a list of {length}"
    if kind in _EXPECTED:
        found = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in first.get("ctx", {}).items()}
        return "expects " + _EXPECTED[kind].format(key=_key(_location(first)), **found)
    text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text[0].lower() + text[1:]


def _model(location: tuple[Any, ...], tree: Mapping[str, Any]) -> type[BaseModel]:
    """The class of the section that holds a key."""
    model: type[BaseModel] = RunConfig
    for part in location[:-1]:
        if part in SECTIONS:
            model = section_of(part, tree.get(part, {}))
            continue
        kind = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [kind, *getattr(kind, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return model


def _length(location: tuple[Any, ...], tree: Mapping[str, Any]) -> int | None:
    """The length of the list that holds the value, if it is in one."""
    if not location or isinstance(location[-1], str):
        return None
    kind = _model(location[:-1], tree).model_fields[location[-2]].annotation
    lists = [of for of in (kind, *get_args(kind)) if get_origin(of) is tuple]
    return len(get_args(lists[0])) if lists else None


def _location(error: Any) -> tuple[Any, ...]:
    """Without the names of the types that pydantic tried for a union."""
    return tuple(part for part in error["loc"] if not re.search(r"[\[(-]", str(part)))


def _key(location: tuple[Any, ...]) -> str:
    return ".".join(part for part in location if isinstance(part, str))
