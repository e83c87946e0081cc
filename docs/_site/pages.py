"""Pages made at build time: one per method, the reference of each package, and the files beside ``docs/``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from statistics import mean, stdev
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx

from cl_as_gnn.config import load_config
from cl_as_gnn.config.describe import settings_of
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import METHODS
from cl_as_gnn.report import inspect_batch

ROOT = Path(__file__).parents[2]
DOCS, MADE = ROOT / "docs", ROOT / "docs" / "generated"
BESIDE = {
    ROOT / "CONTRIBUTING.md": "contributing",
    ROOT / "CHANGELOG.md": "changelog",
    ROOT / "benchmarks/README.md": "benchmarks",
}
PACKAGES = {
    "cl_as_gnn": "train and use a run",
    "cl_as_gnn.nn": "layers and losses",
    "cl_as_gnn.nn.functional": "losses as functions",
    "cl_as_gnn.nn.terms": "loss values and messages",
    "cl_as_gnn.nn.operators": "what attracts",
    "cl_as_gnn.nn.streaming": "all pairs in tiles",
    "cl_as_gnn.graph": "graphs of a minibatch",
    "cl_as_gnn.graph.transforms": "rewiring and corruption",
    "cl_as_gnn.methods": "base classes of methods",
    "cl_as_gnn.encoders": "encoders",
    "cl_as_gnn.datasets": "data sets",
    "cl_as_gnn.evaluation": "scores",
    "cl_as_gnn.labeling": "few labels to all",
    "cl_as_gnn.compare": "suites",
    "cl_as_gnn.config": "settings",
    "cl_as_gnn.report": "pictures and pages",
    "cl_as_gnn.tasks": "images, nodes, graphs",
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
    found = settings_of(METHODS[name].Config, "method")
    rows = [[f"``{s.key}``", f"``{s.default}``", f"{s.meaning} ({s.kind})"] for s in found if s.key != "method.name"]
    return title("Settings", "-") + grid(["setting", "default", ""], rows, "30 15 55") if rows else ""


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


def picture(name: str, method: type[Any], folder: Path) -> str:
    """The graph of a minibatch of digits, or of nodes for methods that read no images.

    A picture that is there is kept: remove docs/generated to draw all anew.
    """
    out, nodes = folder / f"{name}.png", "images" not in method.reads
    words, shown = [f"method.name={name}", *(["data.name=karate"] * nodes)], "nodes" if nodes else "digits"
    if not out.exists():
        try:
            inspect_batch(load_config(None, words), None, out, 12)
        except ConfigError as error:
            return title("Graph", "-") + f"No picture of digits: {error}.\n\n"
    return (
        title("Graph", "-")
        + f".. image:: {out.name}\n   :alt: edges between twelve {shown} as {name} builds them\n\n"
        + f"Twelve {shown}, an untrained encoder: ``clgnn inspect {' '.join(words)}``. "
        "``--run RUN`` draws the graph of a trained one.\n\n"
    )


def method_page(name: str, method: type[Any], folder: Path, pictures: bool) -> str:
    """Formula, graph reading, settings, picture, results."""
    reading = [["attracts along", method.attracts], ["repels along", method.repels], ["source", method.source]]
    found = list(results(name))
    table = grid(["suite", "run", "data", "seeds", *SCORES.values()], found) if found else ""
    return (
        title(name)
        + grid(["``method.name=" + name + "``", ""], reading, "25 75")
        + f".. autoclass:: {method.__module__}.{method.__qualname__}\n   :show-inheritance:\n\n"
        + (picture(name, method, folder) if pictures else "")
        + settings(name)
        + (
            title("Results", "-") + "Top-1 in %, mean ± standard deviation over seeds; protocols: "
            ":doc:`../../results`.\n\n" + table
            if found
            else ""
        )
    )


def public(package: str) -> dict[str, Any]:
    """The public names of a package and what they stand for; a module without a list has what it defines."""
    module = import_module(package)
    names = getattr(module, "__all__", None)
    if names is not None:
        return {name: getattr(module, name) for name in names}
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", None) == package}
    return {name: value for name, value in own.items() if not name.startswith("_")}


def reference_page(package: str) -> str:
    """Every public class and function of a package; one that a package within exports is there."""
    within = [public(other) for other in PACKAGES if other.startswith(f"{package}.")]
    lines = [title(f"{package}: {PACKAGES[package]}"), f".. automodule:: {package}\n\n"]
    for name, value in public(package).items():
        if isinstance(value, ModuleType) or any(other.get(name) is value for other in within):
            continue
        kind = "class" if isinstance(value, type) else "function" if callable(value) else "data"
        members = "   :members:\n   :show-inheritance:\n" if kind == "class" else ""
        lines.append(f".. auto{kind}:: {package}.{name}\n{members}\n")
    return "".join(lines)


def put(path: Path, text: str) -> None:
    """Write a page if it has changed, so that Sphinx reads only those again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def toc(about: str, pages: Iterable[str]) -> str:
    """A page in Markdown that lists others, because pages of the repository link to it."""
    return "\n".join([f"# {about}", "", "```{toctree}", ":maxdepth: 1", "", *pages, "```", ""])


def generate(app: Sphinx) -> None:
    """Write all pages that are not in the repository."""
    for kind in ("methods", "reference"):
        (MADE / kind).mkdir(parents=True, exist_ok=True)
    for path, name in BESIDE.items():
        put(MADE / f"{name}.md", relink(path.read_text(encoding="utf-8"), path.parent, MADE))
    own = {name: method for name, method in METHODS.items() if method.__module__.startswith("cl_as_gnn.")}
    for name, method in own.items():
        put(MADE / "methods" / f"{name}.rst", method_page(name, method, MADE / "methods", app.config.pictures))
    put(MADE / "methods.md", toc("A page per method", (f"methods/{name}" for name in own)))
    shown = [package for package in PACKAGES if public(package)]
    for package in shown:
        put(MADE / "reference" / f"{package}.rst", reference_page(package))
    put(MADE / "reference.md", toc("Reference", (f"reference/{package}" for package in shown)))


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Lead the links of a page out of ``docs/`` to the pages made here."""
    if name.startswith("generated/"):
        return
    source[0] = relink(source[0], DOCS, DOCS)
    if name == "index":
        source[0] = contents(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("pictures", True, "env", bool)
    app.connect("builder-inited", generate)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
