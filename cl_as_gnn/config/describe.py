"""Settings in words: key, type, default and meaning of each. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cl_as_gnn.config.tree import SECTIONS, RunConfig

_NAMES = {bool: "true | false", int: "integer", float: "number", str: "text", Path: "path"}
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


@dataclass(frozen=True)
class Setting:
    """One key.

    Attributes:
        key: with dots.
        kind: its type and bounds in words.
        default: its value, as it is typed; a dash for none.
        meaning: what it sets.
        choices: the words that it may be, if these are fixed.
    """

    key: str
    kind: str
    default: str
    meaning: str
    choices: tuple[str, ...] = ()

    def record(self) -> dict[str, str]:
        """The same for JSON."""
        return {"key": self.key, "type": self.kind, "default": self.default, "description": self.meaning}


def described(config: RunConfig) -> list[Setting]:
    """Every setting of a run; the defaults are those of its method, its encoder and its data set."""
    return list(_walk(type(config), config, ""))


def settings_of(config: type[BaseModel], section: str) -> list[Setting]:
    """The settings of one section, by the class of the section."""
    return list(_walk(config, None, f"{section}."))


def _walk(model: type[BaseModel], values: BaseModel | None, prefix: str) -> Iterator[Setting]:
    fields = list(model.model_fields.items())
    if prefix:  # own settings before those of sections within
        fields.sort(key=lambda pair: _model(pair[1].annotation) is not None)
    for name, field in fields:
        value = field.get_default(call_default_factory=True) if values is None else getattr(values, name)
        below = type(value) if isinstance(value, BaseModel) else _model(field.annotation)
        if below is None:
            about = (base.model_fields[name].description for base in _bases(model) if name in base.model_fields)
            yield _setting(f"{prefix}{name}", field, value, next(filter(None, about), ""))
            continue
        parts = _walk(below, value if isinstance(value, BaseModel) else None, f"{prefix}{name}.")
        if value is None:  # the data set has a recipe
            parts = (Setting(s.key, s.kind, "recipe", s.meaning, s.choices) for s in parts)
        yield from parts


def _model(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation stands for, alone or beside ``None``."""
    found = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
    return found[0] if found else None


def _bases(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The class and those whose settings it may have changed without describing them again."""
    return [base for base in model.__mro__ if issubclass(base, BaseModel)]


def _setting(key: str, field: FieldInfo, value: Any, meaning: str) -> Setting:
    section, _, name = key.rpartition(".")
    about = f"see clgnn {section}{'s' * (section != 'data')}" if name == "name" and section in SECTIONS else ""
    kind = " ".join(filter(None, [_kind(field.annotation), _bounds(field)]))
    default = "–" if field.is_required() and value is None else _text(value)
    return Setting(key, "name" if about else kind, default, about or meaning, _choices(field.annotation))


def _bounds(field: FieldInfo) -> str:
    """``2–16`` for a closed interval, the sides apart for others; a bound that is that of the type goes unsaid."""
    found = {at: getattr(part, at) for part in field.metadata for at in _SIGNS if hasattr(part, at)}
    found = {at: value for at, value in found.items() if not (at in ("lt", "le") and value >= 2**31)}
    if found.keys() == {"ge", "le"}:
        return f"{found['ge']:g}–{found['le']:g}"
    return ", ".join(f"{sign} {found[at]:g}" for at, sign in _SIGNS.items() if at in found)


def _choices(annotation: Any) -> tuple[str, ...]:
    if annotation is bool:
        return ("true", "false")
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return tuple(word for part in get_args(annotation) if part is not Ellipsis for word in _choices(part))


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_kind(part) for part in inner if part is not NoneType))
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin is tuple:
        of = [_kind(part) for part in inner if part is not Ellipsis]
        return f"[{of[0]}, …]" if Ellipsis in inner else f"[{', '.join(of)}]"
    return _NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
