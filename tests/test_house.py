"""The rules of docs/architecture.md that a machine can check."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cl_as_gnn"
# From the bottom up: a package imports from lower rows and from its own.
ROWS = (
    {"errors", "compat", "held", "light", "registry", "config"},
    {"nn"},
    {"graph"},
    {"encoders", "datasets", "evaluation"},
    {"methods"},
    {"tasks"},
    {"runs"},
    {"training"},
    {"compare", "report", "dynamics"},
    {"labeling"},
    {"api"},
    {"cli"},
)
LEVEL = {name: level for level, row in enumerate(ROWS) for name in row}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Parts of the package that a file imports at its top level, not inside functions or ``if TYPE_CHECKING``."""
    later = [
        f
        for f in ast.walk(tree)
        if isinstance(f, ast.FunctionDef) or "TYPE_CHECKING" in ast.dump(getattr(f, "test", f))
    ]
    inside = {node for f in later if isinstance(f, ast.FunctionDef | ast.If) for node in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in inside and (node.module or "").startswith("cl_as_gnn."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path):
    own = part(path)
    for name in imported(ast.parse(path.read_text())):
        assert name == own or LEVEL[name] < LEVEL[own] or {name, own} <= ROWS[0], f"{own} imports {name}"


def test_every_part_of_the_package_is_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for name in {part(path) for path in FILES}:
        assert name in LEVEL, f"{name} has no row"
        assert f"`{name}/`" in page or f"`{name}.py`" in page, f"docs/architecture.md does not name {name}"


def test_functions_and_files_stay_short():
    python = [
        path for folder in ("cl_as_gnn", "tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
    ]
    long_files = [str(path) for path in python if len(path.read_text().splitlines()) > 350]
    assert long_files == []
    long_functions = [
        f"{path}:{node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and body_lines(node) > 60
    ]
    assert long_functions == []


def body_lines(node: ast.FunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno - body[0].lineno + 1) if body else 0
