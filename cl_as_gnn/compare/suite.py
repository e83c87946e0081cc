"""A suite: its runs, the settings they share, and the settings each run changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from cl_as_gnn.config import DataConfig, RunConfig, Settings, build_config, merge, parse_overrides, read_yaml, told
from cl_as_gnn.errors import ConfigError, unknown
from cl_as_gnn.evaluation.scores import all_scores
from cl_as_gnn.runs.folder import RunFolder


class Budget(Settings):
    """Equal work for runs with different numbers of views V."""

    view_epochs: int = Field(ge=1, description="epochs times views: a run gets view_epochs / V epochs")
    batch_views: int = Field(512, ge=4, description="views per step: a run gets batch_views / V images per step")

    def tree(self, num_views: int) -> dict[str, Any]:
        """Settings of a run with ``num_views``; ConfigError if whole epochs miss the budget by more than 5 %."""
        epochs = max(1, round(self.view_epochs / num_views))
        if abs(epochs * num_views - self.view_epochs) > 0.05 * self.view_epochs:
            raise ConfigError(
                f"{num_views} views in {epochs} epochs are not equal work to budget.view_epochs="
                f"{self.view_epochs}: choose a multiple of {num_views}"
            )
        return {"trainer": {"epochs": epochs, "batch_size": max(2, self.batch_views // num_views)}}


class Suite(Settings):
    """A YAML suite: shared settings, the settings of each run, and the baseline of the differences."""

    name: str
    baseline: str = Field(description="the run that the others are compared to")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    budget: Budget | None = Field(None, description="equal work at different numbers of views, instead of epochs")
    base: dict[str, Any] = Field(default_factory=dict, description="settings of every run")
    runs: dict[str, dict[str, Any]] = Field(min_length=1, description="name of the run: settings over the base")
    redraw: bool = Field(False, description="each seed also draws its own split of the images (data.split_seed)")
    scores: tuple[str, ...] = Field((), description="keys of more scores to compare, such as i_nce")
    curves: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="name of a curve of accuracy against graph purity: its runs, in order"
    )
    curves_over: str = Field("graph_purity", description="another key for the axis of the curves, one of scores")

    def config(self, row: str, given: Mapping[str, Any], seed: int) -> RunConfig:
        """The config of one run, with ``given`` over the settings of the suite."""
        own = {"seed": seed, "data": {"split_seed": seed}} if self.redraw else {"seed": seed}
        tree = merge(merge(merge(self.base, self.runs[row]), given), own)
        config = build_config(tree)
        if self.budget is None:
            return config
        for key in ("epochs", "batch_size"):
            if key in tree.get("trainer", {}):
                raise ConfigError(f"trainer.{key} follows from the budget: set budget.view_epochs instead")
        return build_config(merge(tree, self.budget.tree(config.method.num_views)))


@dataclass(frozen=True)
class Cell:
    """One run of a suite: the settings of a row with one seed."""

    row: str
    seed: int
    config: RunConfig

    @property
    def run(self) -> RunFolder:
        assert self.config.run_dir is not None
        return RunFolder(self.config.run_dir)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """``metrics.json``, ``None`` if it is not there or lacks scores.

        Raises:
            ConfigError: it is another experiment's.
            RunError: it is damaged.
        """
        if not self.run.metrics.exists():
            return None
        found = self.run.load_metrics()
        if found["config_digest"] not in self._digests():
            raise ConfigError(f"{self.run.path} holds other settings than the suite: remove it, or name another --out")
        return found if "baselines" in found or not self.config.eval.baselines else None

    def _digests(self) -> Iterator[str]:
        """The digest of the config, and what it is with each recipe of views that the run may have chosen."""
        from cl_as_gnn.datasets.recipes import BYOL, MOCO, completed  # loads torch

        yield self.config.digest
        data = self.config.data
        if isinstance(data, DataConfig):
            for recipe in (MOCO, BYOL):
                settled = data.model_copy(update={"augment": completed(recipe.augment, data.augment)})
                yield self.config.model_copy(update={"data": settled}).digest


def load_suite(path: Path, overrides: Sequence[str], out: Path) -> tuple[Suite, list[Cell]]:
    """Read a suite and check the config of each run, before anything is trained.

    Args:
        path: the YAML file.
        overrides: ``key=value`` settings over the base of every run, ``seeds=[...]`` or ``budget.…``.
        out: folder of the results.

    Raises:
        ConfigError: the suite or the settings of a run are wrong.
    """
    given = parse_overrides(overrides)
    own: dict[str, Any] = {key: given.pop(key) for key in ("seeds", "budget") if key in given}
    tree = {"name": path.stem} | merge(read_yaml(path), own)
    try:
        suite = Suite.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        fields = (Budget if first["loc"][0] == "budget" else Suite).model_fields
        wrong = f"is not one of {', '.join(fields)}" if first["type"] == "extra_forbidden" else told(first)
        raise ConfigError(f"{path}: {key} {wrong}") from None
    for name in suite.runs:  # the names of their folders
        if name != name.strip() or name in ("", ".", "..") or not name.isprintable() or set(name) & set('/\\:*?"<>|'):
            raise ConfigError(f"{path}: the run {name!r} names a folder: use letters, digits, spaces, '-', '_' and '.'")
    if twice := [seed for seed in suite.seeds if suite.seeds.count(seed) > 1]:
        raise ConfigError(f"{path}: seeds={list(suite.seeds)} has {twice[0]} twice: name each seed once")
    if suite.baseline not in suite.runs:
        raise ConfigError(f"{path}: baseline {suite.baseline!r} is not one of its runs: {', '.join(suite.runs)}")
    if suite.curves_over not in ("graph_purity", *suite.scores):
        raise ConfigError(f"{path}: curves_over={suite.curves_over} is not one of scores: add it there")
    if "graph_purity" in suite.scores:
        raise ConfigError(f"{path}: scores name graph_purity, which has a column already: drop it")
    for key in set(suite.scores) - set(all_scores()):
        raise ConfigError(f"{path}: {unknown('score', key, all_scores())}")
    for name in sorted({row for rows in suite.curves.values() for row in rows} - set(suite.runs)):
        raise ConfigError(f"{path}: curves name {name!r}, which is not one of its runs: {', '.join(suite.runs)}")
    cells = []
    for row in suite.runs:
        for seed in suite.seeds:
            try:
                config = suite.config(row, given, seed)
            except ConfigError as error:
                raise ConfigError(f"{path}, run {row!r}: {error}") from None
            cells.append(Cell(row, seed, config.model_copy(update={"run_dir": out / "runs" / row / f"seed{seed}"})))
    return suite, cells
