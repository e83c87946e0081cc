r"""Simulation of contrastive learning in feature space: two Gaussians, moved by the layers of this package.

Wang et al., `"A Message Passing Perspective on Learning Dynamics of Contrastive Learning"
<https://arxiv.org/abs/2303.04435>`_, ICLR 2023: the features themselves are trained, and one training step is one
message-passing layer. Attraction alone contracts each component of the graph to a point, repulsion alone spreads the
features, and both together move them until graph and attention give the same message.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.utils import dense_to_sparse, to_scipy_sparse_matrix

from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.evaluation.geometry import dirichlet_energy, effective_rank, graph_mismatch
from cl_as_gnn.nn import AlignmentConv, ContrastiveConv, UniformityConv

REGIMES = {"align": "align only", "uniformity": "uniformity only", "both": "both"}
QUANTITIES = {
    "energy": "Dirichlet energy",
    "rank": "effective rank",
    "mismatch": "‖(Ā−P)F‖ / ‖F‖",
    "std": "feature std",
    "distance": "distance to collapse",
}
REGIME_COLORS = {"align": "#2463c4", "uniformity": "#e08a00", "both": "#1a8f5a"}
CLASS_COLORS = ("#7b3fa0", "#d1495b")
EDGE_COLOR = "#8a8a8a"


@dataclass(frozen=True)
class Trajectories:
    """The record of :func:`simulate`: N nodes, E edges, T recorded steps; features and values are float64.

    Attributes:
        points: the data ``(N, 2)``.
        labels: the Gaussian of each node ``(N,)``, 0 or 1.
        edge_index: the graph of the data ``(2, E)``, symmetric and with self-loops.
        steps: the recorded steps ``(T,)``, from 0 to the last.
        features: ``(3, T, N, 2)``, the first dimension in the order of ``REGIMES``; equal at step 0.
        values: ``(3, T, 5)``, the last dimension in the order of ``QUANTITIES``.
    """

    points: Tensor
    labels: Tensor
    edge_index: Tensor
    steps: Tensor
    features: Tensor
    values: Tensor

    def curve(self, regime: str, quantity: str) -> Tensor:
        """One quantity of one regime at the recorded steps ``(T,)``; ``KeyError`` for an unknown name."""
        rows, columns = ({name: i for i, name in enumerate(names)} for names in (REGIMES, QUANTITIES))
        return self.values[rows[regime], :, columns[quantity]]

    def table(self) -> list[tuple[str, float, list[float]]]:
        """One row per quantity: its title, its value at step 0 (equal in all regimes), its last value in each."""
        first, last = self.values[0, 0].tolist(), self.values[:, -1].t().tolist()
        return list(zip(QUANTITIES.values(), first, last, strict=True))


def component_basis(adjacency: Tensor) -> Tensor:
    r"""Compute an orthonormal basis of what alignment leaves unchanged: :math:`D^{1/2} \mathbf{1}` of each component.

    Args:
        adjacency: symmetric, non-negative weights ``(n, n)``. A node without edges is a component of its own.

    Returns:
        ``(n, c)`` for c connected components, in the type of ``adjacency``.

    Raises:
        ValueError: the adjacency is not square, not symmetric or has negative weights.
    """
    if adjacency.dim() != 2 or adjacency.size(0) != adjacency.size(1):
        raise ValueError(f"component_basis expects a square adjacency, got shape {tuple(adjacency.shape)}")
    if not torch.equal(adjacency, adjacency.t()) or bool((adjacency < 0).any()):
        raise ValueError("component_basis expects a symmetric adjacency without negative weights")
    count, label = connected_components(to_scipy_sparse_matrix(dense_to_sparse(adjacency)[0], num_nodes=len(adjacency)))
    degree = adjacency.sum(1)
    basis = adjacency.new_zeros(len(adjacency), count)
    basis[torch.arange(len(adjacency)), torch.from_numpy(label).long()] = torch.where(degree > 0, degree.sqrt(), 1)
    basis /= basis.norm(dim=0)
    return basis


def collapse_distance(x: Tensor, basis: Tensor) -> float:
    r"""Compute the distance to one point per component: :math:`d_M(X) = \min_{Y \in M} \lVert X - Y \rVert_F`.

    Args:
        x: features ``(n, d)``.
        basis: orthonormal basis of M ``(n, c)``, from :func:`component_basis`.
    """
    return float((x - basis @ (basis.t() @ x)).norm())


def spectral_bound(adjacency: Tensor, step_size: float) -> float:
    r"""Compute an upper bound on the factor by which a step of alignment scales the distance to collapse.

    .. math::
        q = \max_{\lambda \in \sigma(I - \bar A) \setminus 0} |1 - \alpha \lambda|, \qquad
        d_M(F_t) \le q^t \, d_M(F_0), \qquad \bar A = D^{-1/2} A D^{-1/2}.

    The eigenvalue 0 has one eigenvector per component; the others satisfy :math:`0 < \lambda \le 2`, so that q < 1 for
    :math:`0 < \alpha < 1`.

    Args:
        adjacency: symmetric, non-negative weights :math:`A` ``(n, n)``. A node without edges does not move.
        step_size: :math:`\alpha`.

    Returns:
        q, or 0 if all eigenvalues are 0: then every F is in M.

    Raises:
        ValueError: as in :func:`component_basis`.
    """
    # The number of components is the number of zero eigenvalues, without a tolerance.
    zeros = component_basis(adjacency).size(1)
    degree = adjacency.sum(1)
    scale = torch.where(degree > 0, degree.clamp(min=torch.finfo(degree.dtype).tiny).rsqrt(), 0)
    # 1 on the diagonal for a node without edges, which does not move.
    normalized = scale[:, None] * adjacency * scale + torch.diag((degree == 0).to(adjacency.dtype))
    left = (1 - torch.linalg.eigvalsh(normalized).flip(0))[zeros:]
    return float((1 - step_size * left).abs().max()) if len(left) else 0.0


def simulate(
    num_points: int = 100,
    steps: int = 1000,
    step_size: float = 0.1,
    seed: int = 0,
    *,
    std: float = 0.7,
    radius: float = 0.4,
    diagonal: bool = True,
    every: int | None = None,
) -> Trajectories:
    r"""Simulate the features of two Gaussians under attraction, under repulsion and under both.

    Data :math:`x_i \sim \mathcal{N}((\pm 1, 0), \sigma^2 I)`; edges, including self-loops, where
    :math:`\lVert x_i - x_j \rVert \le r`; features :math:`F_0` uniform in :math:`[-1, 1]^2`. Then, in float64,

    .. math::
        F &\leftarrow (1 - \alpha) F + \alpha \bar A F      && \text{(align: AlignmentConv)} \\
        F &\leftarrow (1 + \alpha) F - \alpha P F           && \text{(uniformity: UniformityConv)} \\
        F &\leftarrow F + \alpha (\bar A F - P F)           && \text{(both: ContrastiveConv)}

    with :math:`\bar A = D^{-1/2} A D^{-1/2}` and :math:`P_{ij} \propto e^{f_i \cdot f_j}` the attention at
    temperature 1. The sum in the paper's P includes the node itself, that of the layers does not. The simulation
    passes the features as both sides of a bipartite graph, so that the layers keep the diagonal. The diagonal bounds
    the features: a long feature attends to itself and is no longer repelled.

    Args:
        num_points: number of nodes per class.
        steps: number of message-passing steps.
        step_size: :math:`\alpha > 0`.
        seed: of the data and of the initial features.
        std: :math:`\sigma` of both Gaussians, in units of half the distance between their means.
        radius: r, in the same unit.
        diagonal: with ``False`` no node attends to itself, as in the layers within one set of nodes. Nothing then stops
            the repulsion, and the features of the last two regimes grow exponentially.
        every: interval of the recorded steps; by default about 80 steps at even distances of their logarithm. Step 0
            and the last step are always recorded.

    Raises:
        ConfigError: a number is out of its range.
        RunError: the features are not finite, because the step size is too large.
    """
    for name, count in {"num_points": num_points, "steps": steps, "every": 1 if every is None else every}.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}: pass 1 or more")
    for name, length in {"step_size": step_size, "std": std, "radius": radius}.items():
        if not (length > 0 and math.isfinite(length)):
            raise ConfigError(f"{name} is {length}: pass a finite number above 0")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(2).repeat_interleave(num_points)
    noise = torch.randn(2 * num_points, 2, generator=generator, dtype=torch.float64)
    points = std * noise + torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)[labels]
    start = 2 * torch.rand(2 * num_points, 2, generator=generator, dtype=torch.float64) - 1
    # Differences, unlike the products of a faster cdist, give exactly 0 for the distance of a node to itself.
    adjacency = ((points[:, None] - points[None]).norm(dim=2) <= radius).double()
    edge_index, _ = dense_to_sparse(adjacency)
    basis = component_basis(adjacency)
    align = AlignmentConv(step_size)
    uniformity = UniformityConv(temperature=1.0, step_size=step_size)
    both = ContrastiveConv(temperature=1.0, step_size=step_size)
    moves: dict[str, Callable[[Tensor], Tensor]] = {
        "align": lambda x: align(x, edge_index),
        "uniformity": lambda x: uniformity((x, x) if diagonal else x),
        "both": lambda x: both((x, x) if diagonal else x, edge_index),
    }

    def measure(x: Tensor) -> list[float]:
        return [
            dirichlet_energy(x, edge_index),
            effective_rank(x),
            graph_mismatch(x, edge_index, loops=diagonal),
            float(x.var(0).mean().sqrt()),
            collapse_distance(x, basis),
        ]

    if every is None:
        recorded = {0, *np.geomspace(1, steps, 80).round().astype(int).tolist()}
    else:
        recorded = {*range(0, steps + 1, every), steps}
    features, values = [], []
    for regime, move in moves.items():
        x = start
        for t in range(steps + 1):
            if t > 0:
                x = move(x)
            if t in recorded:
                if not bool(torch.isfinite(x).all()):
                    raise RunError(
                        f"the features of {REGIMES[regime]!r} are not finite at step {t}: "
                        f"choose a step size below {step_size:g}"
                    )
                features.append(x)
                values.append(measure(x))
    shape = (len(REGIMES), len(recorded))
    places = torch.stack(features).unflatten(0, shape)
    measures = torch.tensor(values, dtype=torch.float64).unflatten(0, shape)
    return Trajectories(points, labels, edge_index, torch.tensor(sorted(recorded)), places, measures)


def simulate_to(out: Path, num_points: int, steps: int, step_size: float, seed: int) -> Trajectories:
    """Run :func:`simulate` and draw it to ``out``, a ``.png``, ``.svg`` or ``.pdf`` file.

    Raises:
        ConfigError: ``out`` has another suffix, or as in :func:`simulate`.
        RunError: ``out`` cannot be written, or as in :func:`simulate`.
    """
    if out.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--out {out}: pictures are .png, .svg or .pdf, name the file {out.with_suffix('.png').name}")
    trajectories = simulate(num_points, steps, step_size, seed)
    try:
        draw(trajectories).savefig(out, dpi=150)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from None
    return trajectories


def draw(trajectories: Trajectories) -> Figure:
    """Draw the data and its graph, the features before and after in each regime, and each quantity by step.

    The panels of features share their axes, so that their sizes compare. Beyond ±1 the axes are logarithmic, so that a
    few distant nodes do not hide the rest.
    """
    figure = Figure(figsize=(13.5, 6.2), layout="constrained")
    top, bottom = figure.subplots(2, 5, gridspec_kw={"height_ratios": [1.15, 1]})
    last = int(trajectories.steps[-1])
    panels = [("data and graph", trajectories.points), ("features at step 0", trajectories.features[0, 0])]
    panels += [(f"{title}, step {last}", trajectories.features[i, -1]) for i, title in enumerate(REGIMES.values())]
    side = 1.15 * max(1.5, float(trajectories.features[:, [0, -1]].abs().max()))
    ticks = [t for t in (-100, -10, -4, -1, 0, 1, 4, 10, 100) if abs(t) < side]
    edges = trajectories.edge_index[:, trajectories.edge_index[0] < trajectories.edge_index[1]].t()
    # Alternate the classes, so that neither covers the other.
    order = torch.arange(len(trajectories.points)).reshape(2, -1).t().flatten()
    colors = [CLASS_COLORS[label] for label in trajectories.labels[order].tolist()]
    for i, (axes, (title, place)) in enumerate(zip(top, panels, strict=True)):
        lines, alpha = list(place[edges].numpy()), 0.7 if i == 0 else 0.2
        axes.add_collection(LineCollection(lines, colors=EDGE_COLOR, linewidths=0.5, alpha=alpha, zorder=1))
        axes.scatter(*place[order].t().numpy(), c=colors, s=13, alpha=0.85, linewidths=0, zorder=2)
        axes.tick_params(labelsize=9)
        axes.set_title(title, fontsize=11)
        reach = 1.06 * float(place.abs().max()) if i == 0 else side
        if i > 0:
            for axis in "xy":
                getattr(axes, f"set_{axis}scale")("symlog", linthresh=1, linscale=1.2)
                getattr(axes, f"set_{axis}ticks")(ticks, [f"{t:g}" for t in ticks])
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), box_aspect=1)
        axes.minorticks_off()
    for i, (axes, (name, title)) in enumerate(zip(bottom, QUANTITIES.items(), strict=True)):
        for regime, label in REGIMES.items():
            x, y = trajectories.steps.numpy(), trajectories.curve(regime, name).numpy()
            axes.plot(x, y, color=REGIME_COLORS[regime], linewidth=1.8, label=label)
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.set_xlim(0, last)
        # Without edges between nodes the energy is 0 at every step.
        if name in ("energy", "mismatch", "distance") and bool((trajectories.values[..., i] > 0).any()):
            axes.set_yscale("log")
        if name == "rank":
            axes.set_ylim(0.95, 2.05)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("step", fontsize=10)
        axes.tick_params(labelsize=9)
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    handles, titles = bottom[0].get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside lower center", ncols=3, frameon=False, fontsize=11)
    return figure
