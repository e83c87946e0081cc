"""Pages made at build time: one per method, the reference of each package, and the files beside ``docs/``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from sphinx.application import Sphinx

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import METHODS
from cl_as_gnn.report import inspect_batch

ROOT = Path(__file__).parents[2]
DOCS, MADE = ROOT / "docs", ROOT / "docs" / "generated"
BESIDE = {ROOT / "CONTRIBUTING.md": "contributing", ROOT / "CHANGELOG.md": "changelog", ROOT / "benchmarks/README.md": "benchmarks"}
PACKAGES = {
    "": "run",
    "nn": "layers and losses",
    "nn.functional": "losses as functions",
    "nn.terms": "loss values and messages",
    "nn.operators": "what attracts",
    "nn.streaming": "all pairs in tiles",
    "graph": "graphs of a minibatch",
    "graph.transforms": "rewiring",
    "methods": "base classes of methods",
    "encoders": "encoders",
    "datasets": "data sets",
    "evaluation": "scores",
    "labeling": "few labels to all",
    "compare": "suites",
    "config": "settings",
    "report": "pictures and pages",
    "tasks": "images, nodes, graphs",
}
SCORES = {"knn_top1": "kNN", "linear_top1": "linear", "label1_top1": "1 label", "label10_top1": "10 labels"}


def relink(text: str, source: Path, page: Path) -> str:
    """Rewrite the relative links of a text from the folder ``source`` for a page in the folder ``page``."""

    def move(link: re.Match[str]) -> str:
        path = (source / link[1]).resolve()
        if path == ROOT / "README.md":
            path = DOCS / "start.md"
        elif path in BESIDE:
            path = MADE / f"{BESIDE[path]}.md"
        return f"]({os.path.relpath(path, page)}{link[2] or ''})"

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)", move, text)


def contents(text: str) -> str:
    """Add a hidden table of contents to each section of the index, from its links."""
    out = []
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        pages = re.findall(r"^- \[[^\]]+\]\(([^)#]+)\.md\)", section, flags=re.MULTILINE)
        title = re.match(r"## (.*)", section)
        if title and pages:
            section += "\n".join(["```{toctree}", ":hidden:", f":caption: {title[1]}", "", *pages, "```", "", ""])
        out.append(section)
    return "".join(out)


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], widths: str = "auto") -> str:
    """A table in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (head, *rows):
        lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)]
    return "\n".join([*lines, "", ""])


def title(text: str, sign: str = "=") -> str:
    return f"{text}\n{sign * len(text)}\n\n"


def settings(name: str) -> str:
    """The settings of a method with their defaults."""
    fields = METHODS[name].Config.model_fields
    rows = [
        [f"``{key}``", f"``{field.get_default()!r}``", field.description or ""]
        for key, field in fields.items()
        if key != "name"
    ]
    return title("Settings", "-") + grid(["``method.``\\ …", "default", ""], rows, "22 18 60") if rows else ""


def results(name: str) -> Iterator[list[str]]:
    """A row for each stored run of a method: suite, run, number of seeds, scores."""
    for path in sorted((ROOT / "benchmarks/results").glob("*.json")):
        suite = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(suite.get("rows"), dict) or "runs" not in suite:
            continue
        base = suite["base"].get("method", {}).get("name", "gcn")
        for run, row in suite["rows"].items():
            seeds = row["seeds"].values()
            if suite["runs"].get(run, {}).get("method", {}).get("name", base) != name:
                continue
            cells = [scores([seed[key] for seed in seeds if seed.get(key) is not None]) for key in SCORES]
            yield [suite["suite"], f"``{run}``", suite["dataset"], str(len(seeds)), *cells]


def scores(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds."""
    if not values:
        return "–"
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def picture(name: str, folder: Path) -> str:
    """The graph of a minibatch of digits; empty for methods of other data."""
    out = folder / f"{name}.png"
    if not out.exists():
        try:
            inspect_batch(load_config(None, [f"method.name={name}"]), None, out, 12)
        except ConfigError:  # it reads nodes, or files
            return ""
    return (
        title("Graph", "-")
        + f".. image:: {out.name}\n   :alt: edges between twelve digits as {name} builds them\n\n"
        + "Twelve digits, an untrained encoder: ``clgnn inspect method.name="
        + f"{name}``. ``--run RUN`` draws the graph of a trained one.\n\n"
    )


def method_page(name: str, method: type[Any], folder: Path) -> str:
    """Formula, graph reading, settings, picture, results."""
    reading = [["attracts along", method.attracts], ["repels along", method.repels], ["source", method.source]]
    found = list(results(name))
    table = grid(["suite", "run", "data", "seeds", *SCORES.values()], found) if found else ""
    return (
        title(name)
        + grid(["``method.name=" + name + "``", ""], reading, "25 75")
        + f".. autoclass:: {method.__module__}.{method.__qualname__}\n   :show-inheritance:\n\n"
        + picture(name, folder)
        + settings(name)
        + (title("Results", "-") + "Top-1 in %, mean ± standard deviation over seeds; protocols: "
           ":doc:`../../findings`.\n\n" + table if found else "")
    )


def put(path: Path, text: str) -> None:
    """Write a page if it has changed, so that Sphinx reads only those again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def toc(pages: Iterable[str]) -> str:
    return "\n".join([".. toctree::", "   :maxdepth: 1", "", *(f"   {page}" for page in pages), "", ""])


def generate(app: Sphinx) -> None:
    """Write all pages that are not in the repository."""
    for kind in ("methods", "reference"):
        (MADE / kind).mkdir(parents=True, exist_ok=True)
    for path, name in BESIDE.items():
        put(MADE / f"{name}.md", relink(path.read_text(encoding="utf-8"), path.parent, MADE))
    own = {name: method for name, method in METHODS.items() if method.__module__.startswith("cl_as_gnn.")}
    for name, method in own.items():
        put(MADE / "methods" / f"{name}.rst", method_page(name, method, MADE / "methods"))
    put(MADE / "methods.rst", title("A page per method") + toc(f"methods/{name}" for name in own))
    for package, about in PACKAGES.items():
        module = ".".join(filter(None, ("cl_as_gnn", package)))
        text = title(f"{module}: {about}") + f".. automodule:: {module}\n   :members:\n   :imported-members:\n   :show-inheritance:\n"
        put(MADE / "reference" / f"{module}.rst", text)
    put(MADE / "reference.rst", title("Reference") + toc(f"reference/{'.'.join(filter(None, ('cl_as_gnn', p)))}" for p in PACKAGES))


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Lead the links of a page out of ``docs/`` to the pages made here."""
    if name.startswith("generated/"):
        return
    source[0] = relink(source[0], DOCS, DOCS)
    if name == "index":
        source[0] = contents(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", generate)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
