"""Settings of one run against the defaults, and of several runs against each other."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cl_as_gnn.config import RunConfig, build_config, flatten, to_yaml
from cl_as_gnn.report.markup import code, table
from cl_as_gnn.report.scores import Run


def _flat(config: RunConfig) -> dict[str, object]:
    return flatten(config.model_dump(mode="json", exclude={"run_dir"}))


def _all(config: RunConfig, title: str) -> str:
    return f"<details><summary>{title}</summary><pre>{escape(to_yaml(config))}</pre></details>"


def settings(config: RunConfig) -> str:
    """Return what differs from the defaults of the method, and all settings."""
    defaults = flatten(build_config({"method": {"name": config.method.name}}).model_dump(mode="json"))
    chosen = _flat(config)
    rows = [
        [code(key), code(value), code(defaults[key]) if key in defaults else "the data set’s recipe"]
        for key, value in chosen.items()
        if key not in defaults or value != defaults[key]
    ]
    caption = f"What differs from the defaults of {config.method.name}."
    differ = table(caption, ["setting", "value", "default"], rows) if rows else "<p>All settings are the defaults.</p>"
    return differ + _all(config, f"All {len(chosen)} settings")


def differing(runs: Sequence[Run]) -> str:
    """Return the settings that are not the same in all runs, and all settings of each."""
    trees = [_flat(run.config) for run in runs]
    keys = dict.fromkeys(key for tree in trees for key in tree)
    rows = [
        [code(key), *(code(tree[key]) if key in tree else "–" for tree in trees)]
        for key in keys
        if any(key not in tree or tree[key] != trees[0].get(key) for tree in trees)
    ]
    caption = f"What is not the same in all runs, of {len(keys)} settings; – where a run has no such setting."
    head = ["setting", *(run.name for run in runs)]
    differ = table(caption, head, rows) if rows else "<p>All settings are the same.</p>"
    return differ + "".join(_all(run.config, f"All settings of {escape(run.name)}") for run in runs)
