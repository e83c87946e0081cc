"""Registries of methods, encoders and data sets: a class with its ``Config``, found by name.

A class registers itself when its module is imported. The first lookup imports every module of the registry's package,
and the modules that other packages name in its group of entry points, so the answer never depends on earlier imports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from cl_as_gnn import light
from cl_as_gnn.errors import ConfigError, unknown

if TYPE_CHECKING:
    from cl_as_gnn.datasets.base import Dataset
    from cl_as_gnn.encoders.base import Encoder
    from cl_as_gnn.methods.base import Method

EntryT = TypeVar("EntryT", bound=type[Any])


class Registry(Generic[EntryT]):
    """Classes of one kind by the name in their ``Config``, in alphabetical order.

    A name with places to fill in, such as ``timm/<model>``, stands for every name of that form.

    Within :func:`from_source` an unused registry answers without importing torch: its classes then have their settings
    and literal attributes and cannot be built.

    Args:
        key: the section of a config that names an entry, ``method``, ``encoder`` or ``data``.
        package: its modules define the entries of this package.
        default: the entry of a run that names none.
    """

    def __init__(self, key: str, package: str, default: str):
        self.key, self.package, self.default = key, package, default
        self.group = f"cl_as_gnn.{'data' if key == 'data' else key + 's'}"
        self._entries: dict[str, EntryT] = {}
        self._light: dict[str, EntryT] = {}
        self._loaded = self._read = False

    def register(self, entry: EntryT) -> None:
        """Register a class under each name that its ``Config`` allows; ConfigError if another class has the name."""
        field = entry.Config.model_fields["name"]
        table = self._light if entry.__module__.startswith(light.PREFIX) else self._entries
        for name in get_args(field.annotation) or (field.default,):
            old = table.get(name)
            if old is not None and (old.__module__, old.__qualname__) != (entry.__module__, entry.__qualname__):
                both = f"{entry.__module__} and {old.__module__}"
                raise ConfigError(f"{both} both define {self.key}.name={name}: rename one")
            table[name] = entry

    def remove(self, name: str) -> None:
        """Remove an entry."""
        del self._entries[name]

    def __getitem__(self, name: str) -> EntryT:
        entry = self._find(name)
        if entry is None:
            kind, names = "data set" if self.key == "data" else self.key, [known for known, _ in self.named()]
            raise ConfigError(unknown(kind, name, names, key=f"{self.key}.name"))
        return entry

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def _find(self, name: str) -> EntryT | None:
        table = self._table()
        if name in table:
            return table[name]
        forms = (form for form in table if "<" in form and re.fullmatch(re.sub("<[^>]+>", "[^/:]+", form), name))
        form = next(forms, None)
        return None if form is None else table[form]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._table()))

    def items(self) -> list[tuple[str, EntryT]]:
        """Names and classes."""
        return sorted(self._table().items())

    def named(self) -> list[tuple[str, EntryT]]:
        """Those of :meth:`items` that a config can name: not those for what is ``passed`` from Python."""
        return [(name, entry) for name, entry in self.items() if not getattr(entry, "passed", False)]

    def _table(self) -> dict[str, EntryT]:
        if _reads_source and not self._loaded:
            try:
                if not self._read:  # some entries may be there already, read by another registry
                    self._import(light.read)
                    self._read = True
                return self._light
            except Exception:  # a module that computes with an absent package has to be imported
                self._light.clear()
        if not self._loaded:
            self._import(import_module)
            self._loaded = True
        return self._entries

    def _import(self, load: Callable[[str], object]) -> None:
        for module in iter_modules(light.find(self.package).submodule_search_locations):
            load(f"{self.package}.{module.name}")
        for point in sorted(entry_points(group=self.group), key=lambda point: point.value):
            try:
                load(point.module)
            except Exception as error:  # whatever the code of another package raises
                raise ConfigError(
                    f"{point.value}, an entry point of {self.group}, cannot be imported "
                    f"({type(error).__name__}: {error}): repair or uninstall its package"
                ) from error


_reads_source = False


@contextmanager
def from_source() -> Iterator[None]:
    """Let unused registries answer from the source of their modules: to list entries, and to check settings early."""
    global _reads_source
    _reads_source = True
    try:
        yield
    finally:
        _reads_source = False


METHODS: Registry[type[Method[Any]]] = Registry("method", "cl_as_gnn.methods", "gcn")
ENCODERS: Registry[type[Encoder]] = Registry("encoder", "cl_as_gnn.encoders", "small")
DATASETS: Registry[type[Dataset]] = Registry("data", "cl_as_gnn.datasets", "digits")
