"""Read a module without the heavy packages that it imports.

The file of a method holds its settings and imports torch. To check settings or to list methods, :func:`read` runs such
a file with only the standard library, pydantic and the settings: it yields classes and their literal attributes.
"""

from __future__ import annotations

import builtins
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

PREFIX = "light:"  # begins the module name of every class that was read in this way
_REAL = ("cl_as_gnn.config.", "cl_as_gnn.errors.", "cl_as_gnn.light.", "cl_as_gnn.registry.")
_READ = ("cl_as_gnn.datasets.", "cl_as_gnn.encoders.", "cl_as_gnn.methods.", "cl_as_gnn.evaluation.scores.")
_LIGHT = {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", *sys.stdlib_module_names}


class Absent:
    """Stands for a package that is not imported, and for whatever a module takes from it."""

    def __getattr__(self, name: str) -> Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Absent:
        return self

    def __bool__(self) -> bool:
        raise TypeError("an absent package has no value")

    def __iter__(self) -> Iterator[Any]:  # which __getitem__ would make endless
        raise TypeError("an absent package has no items")

    __getitem__ = __or__ = __ror__ = __call__

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()


def read(name: str) -> ModuleType:
    """Execute a module without its heavy imports, and keep it in ``sys.modules`` under another name.

    Raises:
        Exception: the module computes with an absent package, so it has to be imported.
    """
    alias = PREFIX + name
    if alias in sys.modules:
        return sys.modules[alias]
    spec = find(name)
    code = spec.loader.get_code(name)  # type: ignore[union-attr]
    module = ModuleType(alias)
    folders = spec.submodule_search_locations
    module.__dict__.update(
        __file__=spec.origin,
        __package__=name if folders else name.rpartition(".")[0],
        __builtins__={**vars(builtins), "__import__": _import},
    )
    if folders:
        module.__path__ = list(folders)
    sys.modules[alias] = module  # pydantic and dataclasses look annotations up there
    try:
        exec(code, vars(module))
    except BaseException:
        del sys.modules[alias]
        raise
    return module


def find(name: str) -> ModuleSpec:
    """Find a module without importing the packages above it."""
    root, *parts = name.split(".")
    spec, path = importlib.util.find_spec(root), root
    for part in parts:
        path = f"{path}.{part}"
        spec = spec and PathFinder.find_spec(path, spec.submodule_search_locations)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return spec


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] = (), level: int = 0) -> Any:
    """``__import__`` of a module that is being read."""
    package = str((globals or {}).get("__package__"))
    if level:
        name = importlib.util.resolve_name("." * level + name, package)
    root = name.partition(".")[0]
    if root in _LIGHT or f"{name}.".startswith(_REAL):
        return __import__(name, fromlist=fromlist)
    sibling = root != "cl_as_gnn" and root == package.partition(".")[0]
    if not fromlist or not (sibling or f"{name}.".startswith(_READ)):
        return Absent()
    module = read(name)
    for attribute in fromlist:
        if not hasattr(module, attribute):
            setattr(module, attribute, read(f"{name}.{attribute}"))
    return module
