"""The list of all numbers of a run. The CLI, the report, the comparison of runs and the benchmarks iterate over it.

Another package adds a score with an entry point of the group ``cl_as_gnn.scores`` that names a :class:`Score`. Its
``measure`` then runs on the features of every task, and the score appears in ``metrics.json`` and in all tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

from torch import Tensor

from cl_as_gnn.config import SHIFTS
from cl_as_gnn.errors import ConfigError

GROUP = "cl_as_gnn.scores"
OF_METHODS = (
    *("tcas", "two_hop_purity", "token_nll", "connected", "sigma_2"),
    *("own_weight", "within_weight", "between_weight"),
)
"""Keys of what some methods measure of themselves."""
SPREAD = ("propagated1_top1", "propagated10_top1")
"""Keys of few labels along the kNN graph, which a run shows beside its short table."""
LABEL_FREE = ("view_agreement", "effective_rank", "alignment", "uniformity")
"""Keys of what judges a run without labels, most telling first."""


@dataclass(frozen=True)
class Score:
    """A number in ``metrics.json`` or ``metrics.csv``.

    Attributes:
        key: its name in the files.
        title: its heading in tables and charts.
        meaning: what the number says, in a phrase.
        better: the direction of improvement, ``None`` if there is none.
        unit: ``%`` for accuracies.
        format: format specification of a value.
        headline: whether the short tables show it.
        extra: whether they show it for runs that have it.
        measure: computes the score from the features of a task: for images ``train``, ``test`` and ``validation``, for
            nodes also ``nodes``, for whole graphs ``graphs``; each a tensor (n × d) with its ``<split>_labels`` (n).
            It returns ``None`` where the score is undefined. Scores of this package are computed by the tasks.
    """

    key: str
    title: str
    meaning: str = ""
    better: Literal["up", "down"] | None = None
    unit: str = ""
    format: str = ".4g"
    headline: bool = False
    extra: bool = False
    measure: Callable[[dict[str, Tensor]], float | None] | None = None

    def text(self, value: float | None) -> str:
        """The value as a table shows it, a dash where it is missing."""
        return "–" if value is None else format(value, self.format)

    def gain(self, difference: float) -> float:
        """A difference with its sign turned so that positive is better."""
        return -difference if self.better == "down" else difference


_PROBES = {"linear": "linear probe", "knn": "nearest neighbors"}
_UNDER_SHIFTS = (
    Score("shift_linear_top1", "shifted", "mean of the linear probe under the shifts", "up", "%", ".1f", extra=True),
    Score("shift_knn_top1", "shifted kNN", "mean of the nearest neighbors under the shifts", "up", "%", ".1f"),
    *(
        Score(f"shift_{name}_{probe}_top1", f"{name}, {probe}", f"{text} on images under that shift", "up", "%", ".1f")
        for name in SHIFTS
        for probe, text in _PROBES.items()
    ),
)
_TRANSFER = (
    Score("transfer_linear_top1", "transfer", "linear probe of eval.transfer", "up", "%", ".1f", extra=True),
    Score("transfer_knn_top1", "transfer kNN", "nearest neighbors of eval.transfer", "up", "%", ".1f"),
)
ELSEWHERE = tuple(score.key for score in (*_UNDER_SHIFTS, *_TRANSFER))
"""Keys of the scores on shifted images and on those of ``eval.transfer``, which a run has on demand."""

_BUILT_IN = (
    Score("knn_top1", "kNN", "weighted k nearest neighbors", "up", "%", ".1f", headline=True),
    Score("linear_top1", "linear", "linear probe; SVM on whole graphs", "up", "%", ".1f", headline=True),
    Score("label1_top1", "1 label", "logistic regression on 1 label per class", "up", "%", ".1f", headline=True),
    Score("label10_top1", "10 labels", "logistic regression on 10 labels per class", "up", "%", ".1f", headline=True),
    Score("propagated1_top1", "1 spread", "1 label per class, spread along the kNN graph", "up", "%", ".1f"),
    Score("propagated10_top1", "10 spread", "10 labels per class, spread along the kNN graph", "up", "%", ".1f"),
    Score("validation_top1", "Validation accuracy, %", "of the linear probe, where its C was chosen", "up", "%", ".1f"),
    *_UNDER_SHIFTS,
    *_TRANSFER,
    Score("probe_C", "C of the linear probe", "inverse strength of its penalty"),
    Score("fold_std", "Deviation over folds, %", "of the SVM’s accuracy", "down", "%"),
    Score(
        "alignment",
        "Alignment",
        "mean squared distance of two views of a sample: 0 is best, 4 worst",
        "down",
        format=".3f",
    ),
    Score(
        "uniformity",
        "Uniformity",
        "log mean Gaussian kernel of all pairs: lower is more spread, 0 is collapse",
        "down",
        format=".2f",
    ),
    Score(
        "effective_rank",
        "Effective rank",
        "exp of the spectrum’s entropy (RankMe): 1 is collapse to a line",
        "up",
        format=".1f",
    ),
    Score(
        "view_agreement",
        "View agreement",
        "a view is nearest to the other view of its image, among all images",
        "up",
        "%",
        ".1f",
    ),
    Score("i_nce", "I_NCE, nats", "information two views share, in nats: a lower bound", format=".2f"),
    Score("i_nce_ceiling", "Ceiling of I_NCE", "log K, K the samples among which a view is to be told", format=".2f"),
    Score("digit_error", "digit", "error of the linear probe of the digit, %", "down", "%", ".1f", extra=True),
    Score("background_error", "background", "the same of the background’s class, %", "down", "%", ".1f", extra=True),
    Score("position_error", "position", "mean miss of the digit’s position, px", "down", format=".2f", extra=True),
    Score("tcas", "TCAS", "of the tokens, before training: 0 if each has its own class", "down", format=".3f"),
    Score("two_hop_purity", "Two-hop purity", "weight within a class of images that share tokens", "up", format=".3f"),
    Score("token_nll", "NLL", "of the next token in reading order, in nats, on held-out images", "down", format=".3f"),
    Score(
        "connected", "Connected", "pairs of contexts of one class with a common target, before training", format=".3f"
    ),
    Score("sigma_2", "σ₂", "second singular value of contexts × targets: 1 where they fall apart", format=".3f"),
    Score("own_weight", "Own weight", "of the augmentation graph: at the image itself", format=".3f"),
    Score("within_weight", "Within-class weight", "the same: at other images of its class", format=".3f"),
    Score("between_weight", "Between-class weight", "the same: at images of other classes", format=".3f"),
    Score("collapsed_at", "Collapsed since epoch", "the images share nearly one feature vector from then on"),
    Score("edge_purity", "Edge purity", "share of nearest-neighbor edges within a class", "up"),
    Score("graph_energy", "Dirichlet energy", "of a minibatch on its augmentation graph: 0 is smooth"),
    Score("graph_rank", "Effective rank of a minibatch", "of the features that messages act on", "up"),
    Score("graph_spread", "Spread of a minibatch", "of those features: 0 is collapse, 1 uses all directions alike"),
    Score("graph_mismatch", "Mismatch of the operators", "‖(Ā − Ā′)F‖ / ‖F‖: 0 where they balance"),
    Score("graph_purity", "Purity of the minibatch graph", "share of its affinity edges within a class", "up"),
    Score("graph_agreement", "Agreement", "of nearest neighbors in two views: 0 is chance, 1 the same", format=".2f"),
    Score("feature_rank", "Effective rank of training features", "of up to 512 samples, unit length", "up"),
    Score("feature_spread", "Spread of training features", "0 is collapse, 1 uses all directions alike"),
    Score("loss", "Loss", "mean over the epoch", "down"),
    Score("online_knn", "Online kNN, %", "training samples, each against the others", "up", "%"),
    Score("lr", "Learning rate"),
    Score("seed", "Seed", format="d"),
    Score("epochs", "Epochs", format="d"),
    Score("num_views", "Views per sample", format="d"),
    Score("seconds", "Seconds per epoch", better="down", format=".0f"),
    Score("images_per_second", "Samples per second", "in training", "up", format=",.0f"),
)


@cache
def all_scores() -> Mapping[str, Score]:
    """Every score by its key, those of this package first; ConfigError if two scores have one key."""
    found: dict[str, Score] = {}
    for score in (*_BUILT_IN, *(point.load() for point in entry_points(group=GROUP))):
        if score.key in found:
            raise ConfigError(f"the entry points of {GROUP} define the score {score.key!r} again: rename it there")
        found[score.key] = score
    return found


def find_score(key: str) -> Score:
    """The score of that key; for an unknown key, one with a title made from it."""
    return all_scores().get(key) or Score(key, key.replace("_", " ").capitalize())


def headline() -> dict[str, Score]:
    """The scores of the short tables, by key."""
    return {key: score for key, score in all_scores().items() if score.headline}


def short(known: Container[str]) -> dict[str, Score]:
    """The scores of the short table of a run that has the scores ``known``, by key.

    Without labels they are those of :data:`LABEL_FREE` in place of the accuracies of this package.
    """
    if has_accuracies(known):
        return headline() | {key: score for key, score in all_scores().items() if score.extra and key in known}
    accuracies = {score.key for score in _BUILT_IN if score.headline}
    return {key: find_score(key) for key in LABEL_FREE} | {k: s for k, s in headline().items() if k not in accuracies}


def of_run(known: Container[str]) -> dict[str, Score]:
    """The scores of the table of one run that has the scores ``known``, by key: those of :data:`SPREAD` besides."""
    return short(known) | {key: find_score(key) for key in SPREAD if key in known}


def has_accuracies(known: Container[str]) -> bool:
    """Whether a run that has the scores ``known`` was scored with labels."""
    return "knn_top1" in known


def under_shifts(row: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The accuracies of each probe of a run, or of a baseline, on its test images: clean, under each shift, their mean.

    Empty if the run was scored without shifts.
    """
    found: dict[str, dict[str, float]] = {}
    for probe in _PROBES:
        each: dict[str, float] = {name: row[key] for name in SHIFTS if (key := f"shift_{name}_{probe}_top1") in row}
        if each:
            found[probe] = {"clean": row[f"{probe}_top1"], **each, "mean": row[f"shift_{probe}_top1"]}
    return found


def measured(features: dict[str, Tensor]) -> dict[str, float | None]:
    """The scores of other packages on the features of a task; ``None`` where one is undefined or not finite."""
    values = {key: score.measure(features) for key, score in all_scores().items() if score.measure is not None}
    return {k: None if value is None or not math.isfinite(value) else float(value) for k, value in values.items()}


def table_rows(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float | None]]]:
    """The rows of the short table: the run, then its baselines. A score may be missing from old files."""
    return [(str(metrics["method"]), metrics), *metrics.get("baselines", {}).items()]
