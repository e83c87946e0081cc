"""One line for whatever pydantic found wrong: the key, the value and the cure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cl_as_gnn.config.tree import SECTIONS, RunConfig, section_of
from cl_as_gnn.errors import unknown

# By pydantic's name of the error; what it found out is filled in.
_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a name",
    "path_type": "a path: quote what YAML would read as a number or a date",
    "multiple_of": "a multiple of {multiple_of}",
    "invalid_key": "names of settings, as in {key}.NAME=value",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "tuple_type": "a list, as in [1, 2]",
    "list_type": "a list, as in [1, 2]",
    "too_long": "a list of {max_length}",
    "too_short": "a list of at least {min_length}",
    "model_type": "settings, as in {key}.NAME=value",
    "dict_type": "settings, as in {key}.NAME=value",
    "missing": "to be set",
}


def _model(location: tuple[Any, ...], tree: Mapping[str, Any]) -> type[BaseModel]:
    """The settings among which a key stands."""
    model: type[BaseModel] = RunConfig
    for part in location[:-1]:
        if part in SECTIONS:
            model = section_of(part, tree.get(part, {}))
            continue
        kind = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [kind, *getattr(kind, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return model


def told(first: Any, length: int | None = None) -> str:
    """What a value should have been, of one of pydantic's errors; ``length`` is that of the list it stands in."""
    kind, text = first["type"], str(first["msg"])
    if kind == "missing" and length is not None:
        return f"expects a list of {length}"
    if kind in _WANTED:
        found = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in first.get("ctx", {}).items()}
        return "expects " + _WANTED[kind].format(key=_joined(_location(first)), **found)
    text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text[0].lower() + text[1:]


def _length(location: tuple[Any, ...], tree: Mapping[str, Any]) -> int | None:
    """Of the list that a key without a name stands in."""
    if not location or isinstance(location[-1], str):
        return None
    kind = _model(location[:-1], tree).model_fields[location[-2]].annotation
    lists = [of for of in (kind, *get_args(kind)) if get_origin(of) is tuple]
    return len(get_args(lists[0])) if lists else None


def _location(error: Any) -> tuple[Any, ...]:
    """Without the names of the types that pydantic tried for a union."""
    return tuple(part for part in error["loc"] if not re.search(r"[\[(-]", str(part)))


def _joined(location: tuple[Any, ...]) -> str:
    return ".".join(part for part in location if isinstance(part, str))


def _shown(value: Any) -> str:
    """As it is written in YAML."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def one_line(error: ValidationError, tree: Mapping[str, Any]) -> str:
    """The first of the errors in a tree of settings."""
    errors = error.errors()
    named = _joined(_location(errors[0]))
    # Of the types of a union, the one that fits farthest.
    rivals = [e for e in errors if _joined(_location(e)) == named]
    first = max(rivals, key=lambda e: (len(e["loc"]), e["type"].startswith("too_")))
    location = _location(first)
    key = _joined(location)
    value = _shown(first["input"])
    if first["type"] == "extra_forbidden":
        names = list(_model(location, tree).model_fields)
        close = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.6)
        where = _joined(location[:-1])
        cure = f"{where or 'the top'} has {', '.join(names)}"
        if close:
            cure = f"did you mean {'.'.join(filter(None, [where, close[0]]))}?"
        return f"unknown setting {key}={value}: {cure}"
    message = told(first, _length(location, tree))
    # A message about several keys names them itself.
    if message.startswith("unknown ") or re.match(r"(data|encoder|trainer)\.\w+=", message):
        return message
    if first["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return unknown("value", value, choices, key=key)
    return f"{key}={value}: {message}"
