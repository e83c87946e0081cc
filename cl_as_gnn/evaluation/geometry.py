"""Geometry of embeddings and of the graphs over them: alignment, uniformity, rank, smoothness, purity."""

import math

import torch
from torch import Tensor

from cl_as_gnn.evaluation import _checks
from cl_as_gnn.nn import AlignmentConv
from cl_as_gnn.nn.checks import Got, check_integers, expects
from cl_as_gnn.nn.streaming import gaussian_pairs, pairwise_attention
from cl_as_gnn.nn.unit import unit_rows


@torch.no_grad()
def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> float:
    """Compute the alignment of positive pairs: 0 is best, 2^alpha worst.

    Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", ICML 2020, equation 4, on rows scaled to unit norm:

        mean_i ‖x_i - y_i‖^alpha

    Args:
        x: features, n × d.
        y: features of the positives, n × d; row i belongs to row i of `x`.
        alpha: the exponent.

    Raises:
        ConfigError: `alpha` is not above 0.
        ValueError: the features are not finite matrices of one shape.
    """
    _checks.positive("alignment", alpha=alpha)
    x, y = map(unit_rows, _checks.pair("alignment", x, y))
    distance = (x - y).norm(dim=1)
    return float(distance.double().pow(alpha).mean())


@torch.no_grad()
def uniformity(x: Tensor, t: float = 2.0, chunk: int = 1024) -> float:
    """Return the uniformity of the rows on the unit sphere: 0 is collapse, lower is more uniform, -4t the floor.

    Wang and Isola, ICML 2020, equation 5, on rows scaled to unit norm, over the pairs of distinct rows:

        log mean_{i<j} exp(-t ‖x_i - x_j‖²)

    Args:
        x: features, n × d, n at least 2.
        t: inverse width of the kernel.
        chunk: number of rows at a time; memory holds a few tensors of chunk × n.

    Raises:
        ConfigError: `t` or `chunk` is not above 0.
        ValueError: `x` is not a finite matrix of two rows or more.
    """
    _checks.positive("uniformity", t=t)
    _checks.count("uniformity", chunk=chunk)
    x = unit_rows(_checks.features("uniformity", x))
    n = len(x)
    if n < 2:
        raise expects("uniformity", "x", "with two rows or more, for pairs", x)
    return float(gaussian_pairs(x, None, t, chunk=chunk)[0]) - math.log(n * (n - 1))


@torch.no_grad()
def effective_rank(x: Tensor, center: bool = False) -> float:
    """Compute the effective rank of `x`, from 1 (collapse to a line) to min(n, d).

    Roy and Vetterli, "The Effective Rank", EUSIPCO 2007, as used by Guo et al., "ContraNorm", ICLR 2023: with
    singular values σ_k of `x`,

        exp(-Σ_k p_k log p_k),   p_k = σ_k / Σ_l σ_l

    It is RankMe of Garrido et al., "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised
    Representations by Their Rank", ICML 2023, without its constant of 1e-7 that avoids log 0.

    Args:
        x: features, n × d.
        center: subtract the mean row first, so that a common offset is not a direction.

    Raises:
        ValueError: `x` is not a finite matrix, or all its rows are zero (after centering).
    """
    x = _checks.features("effective_rank", x).double()
    _checks.flag("effective_rank", center=center)
    if center:
        x = x - x.mean(dim=0)
    sigma = torch.linalg.svdvals(x)
    if sigma[0] == 0:
        got = Got(f"rows that are all {'equal' if center else 'zero'}")
        raise expects("effective_rank", "x", "to have a singular value above 0", got)
    return float(torch.special.entr(sigma / sigma.sum()).sum().exp())


@torch.no_grad()
def feature_spread(x: Tensor) -> float:
    """Compute the spread of unit rows: 1 if all directions are used alike, 0 if all rows point one way.

        √d · mean_k std_i(x_ik / ‖x_i‖)

    Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1, times √d.

    Args:
        x: features, n × d.

    Raises:
        ValueError: `x` is not a finite matrix.
    """
    x = unit_rows(_checks.features("feature_spread", x).double())
    return float(x.std(dim=0, correction=0).mean()) * math.sqrt(x.shape[1])


@torch.no_grad()
def view_agreement(x: Tensor, y: Tensor, chunk: int = 1024) -> float:
    """Compute how often the second view of a sample is nearest to its first view, in per cent.

    Instance discrimination, top-1: with s_ij the cosine similarity of row i of `x` and row j of `y`,

        100 · mean_i 1[s_ii > s_ij for all j ≠ i]

    A tie does not count, so equal rows (collapse) give 0.

    Args:
        x: features of the first views, n × d.
        y: features of the second views, n × d; row i belongs to row i of `x`.
        chunk: number of rows at a time; memory holds chunk × n similarities.

    Raises:
        ConfigError: `chunk` is not above 0.
        ValueError: the features are not finite matrices of one shape.
    """
    _checks.count("view_agreement", chunk=chunk)
    x, y = map(unit_rows, _checks.pair("view_agreement", x, y))
    right = 0
    for rows in torch.arange(len(x), device=x.device).split(chunk):
        similarity = x[rows] @ y.t()
        right += int(((similarity >= similarity.gather(1, rows[:, None])).sum(dim=1) == 1).sum())
    return 100 * right / len(x)


@torch.no_grad()
def shared_information(x: Tensor, y: Tensor, k: int = 256) -> tuple[float, float]:
    """Compute a lower bound of the information that two views share, in nats, and its ceiling log K.

    InfoNCE as a bound of mutual information, van den Oord et al., "Representation Learning with Contrastive Predictive
    Coding", 2018, as Tian et al., "What Makes for Good Views for Contrastive Learning?", NeurIPS 2020, use it. With the
    cosine similarities s_ij of the rows of `x` and `y` within a block of K samples,

        I_NCE = max_τ  log K - mean_i [ log Σ_j exp(s_ij / τ) - s_ii / τ ]

    averaged over both directions and over the blocks. The maximum is over 25 values of τ from 0.01 to 10, so that
    methods with other temperatures, or none, are comparable. The bound is that of the features at hand: views can share
    more, and it never exceeds log K.

    Args:
        x: features of the first views, n × d.
        y: features of the second views, n × d; row i belongs to row i of `x`.
        k: K, at most n. The rows are shuffled, the same way every time; an incomplete last block is left out.

    Raises:
        ConfigError: `k` is not above 0.
        ValueError: the features are not finite matrices of one shape.
    """
    _checks.count("shared_information", k=k)
    x, y = map(unit_rows, _checks.pair("shared_information", x, y))
    k = min(k, len(x))
    count = len(x) // k
    # Shuffled, as files are often sorted by class.
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).to(x.device)
    s = torch.stack([x[at].double() @ y[at].double().t() for at in order[: k * count].split(k)])
    own = s.diagonal(dim1=1, dim2=2)
    best = -math.inf
    for tau in torch.logspace(-2, 1, 25, dtype=torch.float64).tolist():
        lost = ((s / tau).logsumexp(1) + (s / tau).logsumexp(2)) / 2 - own / tau
        best = max(best, math.log(k) - float(lost.mean()))
    return best, math.log(k)


@torch.no_grad()
def dirichlet_energy(x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, chunk: int = 65536) -> float:
    """Compute the Dirichlet energy of `x` on a graph, from 0 (smooth) to 2.

        Tr(XᵀLX) / ‖X‖_F²  =  ½ Σ_ij A_ij ‖x_i / √d_i - x_j / √d_j‖² / ‖X‖_F²,   L = I - D^(-1/2) A D^(-1/2)

    the measure of over-smoothing (Cai and Wang, "A Note on Over-Smoothing for Graph Neural Networks", 2020), divided by
    the scale of X. A directed graph is replaced by (A + Aᵀ) / 2, repeated edges add up, self-loops count in the degree,
    and a node without edges has energy 0.

    Args:
        x: node features, n × d.
        edge_index: edges as in PyTorch Geometric, 2 × e.
        edge_weight: non-negative weights, e; 1 if None.
        chunk: number of edges at a time; memory holds chunk × d differences.

    Raises:
        ConfigError: `chunk` is not above 0.
        ValueError: `x` is not a finite matrix or is all zeros, an edge names a node that `x` lacks, or the weights are
            negative, not finite, or not one per edge.
    """
    _checks.count("dirichlet_energy", chunk=chunk)
    x = _checks.exact(_checks.features("dirichlet_energy", x))
    edge_index, weight = _checks.edges("dirichlet_energy", edge_index, edge_weight, len(x), x.device)
    total = float(x.double().square().sum())
    if total == 0:
        raise expects("dirichlet_energy", "x", "with a row that is not zero", Got("zeros"), "the energy is undefined")
    # Half of each weight at either end gives the degrees of (A + Aᵀ) / 2.
    degree = weight.new_zeros(len(x)).index_add_(0, edge_index.flatten(), weight.repeat(2) / 2)
    scale = degree.rsqrt().masked_fill_(degree == 0, 0).to(x.dtype)
    scaled = x * scale[:, None]
    energy = 0.0
    for (source, target), w in zip(torch.split(edge_index, chunk, dim=1), torch.split(weight, chunk), strict=True):
        energy += float((w * (scaled[source] - scaled[target]).square().sum(dim=1)).sum())
    return energy / 2 / total


@torch.no_grad()
def graph_mismatch(
    x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, temperature: float = 1.0, loops: bool = False
) -> float:
    """Compute the mismatch of attraction along a graph and repulsion along the complete affinity graph.

        ‖(Ā - Ā')X‖_F / ‖X‖_F,   Ā = D^(-1/2) A D^(-1/2),   Ā'_ij = exp(x_i·x_j / τ) / Σ_k exp(x_i·x_k / τ)

    Wang et al., "A Message Passing Perspective on Learning Dynamics of Contrastive Learning", ICLR 2023: it is 0 in
    equilibrium, where learning stops.

    Args:
        x, edge_index, edge_weight: as in :func:`dirichlet_energy`.
        temperature: τ.
        loops: whether a node attends to itself in Ā'.

    Raises:
        ConfigError: `temperature` is not above 0.
        ValueError: as in :func:`dirichlet_energy`.
    """
    _checks.positive("graph_mismatch", temperature=temperature)
    _checks.flag("graph_mismatch", loops=loops)
    x = _checks.exact(_checks.features("graph_mismatch", x))
    edge_index, weight = _checks.edges("graph_mismatch", edge_index, edge_weight, len(x), x.device)
    total = float(x.norm())
    if total == 0:
        raise expects("graph_mismatch", "x", "with a row that is not zero", Got("zeros"), "the mismatch is undefined")
    attracted: Tensor = AlignmentConv().gather(x, edge_index, weight.to(x.dtype))
    return float((attracted - pairwise_attention(x, x, x, temperature, loops=loops)).norm()) / total


@torch.no_grad()
def edge_purity(edge_index: Tensor, labels: Tensor, edge_weight: Tensor | None = None) -> float:
    """Compute the share of edge weight, from 0 to 1, between nodes of one class.

        Σ_(i,j) w_ij · 1[label_i = label_j] / Σ_(i,j) w_ij

    the edge homophily of Zhu et al., "Beyond Homophily in Graph Neural Networks", NeurIPS 2020, with weights.
    Self-loops count; `torch_geometric.utils.remove_self_loops` removes them.

    Args:
        edge_index, edge_weight: as in :func:`dirichlet_energy`.
        labels: classes of the nodes, n.

    Raises:
        ValueError: there is no edge with a weight above 0, an edge names a node that `labels` lacks, or the weights are
            negative, not finite, or not one per edge.
    """
    check_integers("edge_purity", labels, what="one of each node")
    edge_index, weight = _checks.edges("edge_purity", edge_index, edge_weight, len(labels), labels.device)
    total = float(weight.sum())
    if total == 0:
        got, cure = Got(f"{edge_index.shape[1]} edges of weight 0"), "purity is undefined without edges"
        raise expects("edge_purity", "edge_index", "with an edge of weight above 0", got, cure)
    source, target = labels[edge_index]
    return float(weight[source == target].sum()) / total
