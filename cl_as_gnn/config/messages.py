"""One line for whatever pydantic found wrong: the key, the value and the cure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from cl_as_gnn.config.tree import SECTIONS, RunConfig, section_of
from cl_as_gnn.errors import unknown


def _fields(location: tuple[Any, ...], tree: Mapping[str, Any]) -> list[str]:
    """Names that exist where an unknown key stands."""
    model: type[BaseModel] = RunConfig
    for part in location[:-1]:
        if part in ("method", *SECTIONS):
            model = section_of(part, tree.get(part, {}))
            continue
        kind = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [kind, *getattr(kind, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)


def one_line(error: ValidationError, tree: Mapping[str, Any]) -> str:
    """The first of the errors in a tree of settings."""
    first = error.errors()[0]
    # Of a union pydantic also says which of its types it tried.
    location = tuple(part for part in first["loc"] if not re.search(r"[\[(-]", str(part)))
    key = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        names = _fields(location, tree)
        close = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
        where = ".".join(str(part) for part in location[:-1])
        cure = f"{where or 'the top'} has {', '.join(names)}"
        if close:
            cure = f"did you mean {'.'.join(filter(None, [where, close[0]]))}?"
        return f"unknown setting {key}={first['input']}: {cure}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    # A message about several keys names them itself.
    if message.startswith("unknown ") or re.match(r"(data|encoder|trainer)\.\w+=", message):
        return message
    if first["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return unknown("value", str(first["input"]), choices, key=key)
    return f"{key}={first['input']}: {message[0].lower()}{message[1:]}"
