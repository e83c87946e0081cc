from __future__ import annotations

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.nn.distributed import LocalRows, total
from cl_as_gnn.nn.streaming.tiles import strips
from cl_as_gnn.nn.terms.base import Term


class PairTerm(Term):
    r"""Base of the losses of all pairwise inner products, streamed in strips of rows.

    .. math::
        L = \sum_i \ell_i(s_{i1}, \dots, s_{in}), \quad s_{ij} = x_i \cdot x_j, \qquad
        \text{message} = -(G + G^\top) X, \quad G_{ij} = \partial \ell_i / \partial s_{ij} .

    A subclass computes :math:`\ell` and :math:`G` of a strip in :meth:`strip`. Messages flow both ways along every
    pair.

    If ``own`` is set (``x`` was gathered from several ranks), each rank computes the strips of its own rows, and the
    ranks sum values and messages.
    """

    own: LocalRows | None = None

    @abstractmethod
    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """Compute the loss of some rows (a scalar), its slope (like ``similarity``) and the slopes of ``learned``.

        Args:
            similarity: ``(r, n)`` of the rows with all nodes; may be overwritten.
            rows: their indices, ``(r,)``.
        """

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        n = x.size(0)
        index = torch.arange(n, device=x.device) if self.own is None else self.own.index(n, x.device)
        sums: list[Tensor] = []
        gradient = torch.zeros_like(x)
        for part, _ in strips((index.numel(), n), x, tensors=2):
            rows = index[part]
            value, slope, *rest = self.strip(x[rows] @ x.t(), rows)
            gradient[rows] += slope @ x
            gradient.addmm_(slope.t(), x[rows])
            sums = [a + b for a, b in zip(sums, [value, *rest], strict=True)] if sums else [value, *rest]
        if self.own is not None:
            gradient, sums = total(gradient), [total(part) for part in sums]
        return sums[0], -gradient, *(-part for part in sums[1:])


def row_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the log-partition and softmax of each row; 0 and zeros for a row of −∞."""
    lse = logits.logsumexp(1)
    lse = lse.masked_fill(lse.isinf(), 0)
    return lse, (logits - lse.unsqueeze(1)).exp()


class NegativeRepulsion(PairTerm):
    r"""`DCL <https://arxiv.org/abs/2110.06848>`_: repulsion along the affinity graph without the positives.

    .. math::
        L = \frac1n \sum_i \log \sum_{k : g_k \neq g_i} e^{x_i \cdot x_k / \tau}, \qquad
        \text{message} = -\frac{1}{n \tau} (P + P^\top) X,

    :math:`P` the row softmax over the nodes of other groups.

    Args:
        temperature: :math:`\tau`.
        group: :math:`g`, ``(n,)``: nodes of one group (the views of a sample) do not repel each other.
        own: rows of this rank, if ``x`` was gathered from several.
    """

    def __init__(self, temperature: float, group: Tensor, own: LocalRows | None = None):
        self.temperature, self.group, self.own = temperature, group, own

    def left_out(self, similarity: Tensor, rows: Tensor) -> Tensor:
        """Mask the nodes that each row does not repel."""
        return self.group[rows].unsqueeze(1) == self.group

    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        out = self.left_out(similarity, rows)
        lse, share = row_softmax(similarity.div_(self.temperature).masked_fill_(out, -math.inf))
        n = similarity.size(1)
        return lse.sum() / n, share.div_(n * self.temperature)


class SubsetRepulsion(NegativeRepulsion):
    r"""Repulsion along part of the affinity graph.

    .. math::
        L = \frac1n \sum_i \log \sum_{k \in \mathcal{P}(i) \cup \mathcal{N}(i)} e^{x_i \cdot x_k / \tau}, \qquad
        \text{message} = -\frac{1}{n \tau} (P + P^\top) X,

    :math:`\mathcal{P}(i)` the other nodes of the group of i, :math:`\mathcal{N}(i)` some nodes of other groups,
    :math:`P` the row softmax over both. The choice of the nodes is not differentiated.

    Args:
        temperature: :math:`\tau`.
        group: ``(n,)``, the sample of each view.
        part: ``"complete"``, all; ``"nearest"``, the k most similar; ``"random"``, k drawn anew at each call;
            ``"farther"``, all but the k most similar.
        k: number of nodes of other groups; capped at the number that exist.
    """

    def __init__(self, temperature: float, group: Tensor, part: str = "complete", k: int = 0):
        if part not in ("complete", "nearest", "random", "farther"):
            raise ValueError(f"SubsetRepulsion: part is complete, nearest, random or farther, got {part!r}")
        super().__init__(temperature, group)
        self.part, self.k = part, k

    def left_out(self, similarity: Tensor, rows: Tensor) -> Tensor:
        own = super().left_out(similarity, rows)
        out = torch.zeros_like(own)
        if self.part != "complete":
            key = torch.rand_like(similarity) if self.part == "random" else similarity
            nearest = key.masked_fill(own, -math.inf).topk(min(self.k, key.size(1)), dim=1).indices
            picked = out.scatter(1, nearest, True)
            out = ~own & (picked if self.part == "farther" else ~picked)
        return out.scatter_(1, rows.unsqueeze(1), True)


def hard_positives(x: Tensor, edge_index: Tensor, num_views: int, sigma: float) -> Tensor:
    r"""Weigh augmentation edges as DCLW: :math:`(2 - B \, \mathrm{softmax}(x_i \cdot x_j / \sigma)) / (V - 1)`.

    The softmax runs over the B edges from one view to another, so that their weights have mean :math:`1 / (V - 1)`.

    Args:
        x: unit rows ``(V·B, d)``, view-major.
        edge_index: augmentation edges, grouped by the two views.
        num_views: V.
        sigma: :math:`\sigma > 0`.
    """
    cosine = (x[edge_index[0]] * x[edge_index[1]]).sum(1).view(-1, x.size(0) // num_views)
    weight: Tensor = (2 - cosine.size(1) * (cosine / sigma).softmax(1)).flatten() / (num_views - 1)
    return weight


class PairContrast(PairTerm):
    r"""NT-Xent of each positive pair apart: the other positives are neither in its numerator nor in its denominator.

    .. math::
        L = -\frac1E \sum_i \sum_{j \in \mathcal{P}(i)} \log p_{ij}, \qquad
        p_{ij} = \frac{e^{x_i \cdot x_j / \tau}}
            {e^{x_i \cdot x_j / \tau} + \sum_{k : g_k \neq g_i} e^{x_i \cdot x_k / \tau}}, \qquad
        \text{message} = \frac{1}{E \tau} (G + G^\top) X, \quad G = Q - \mathrm{diag}(Q \mathbf{1}) P,

    :math:`\mathcal{P}(i)` the other nodes of the group of i, E the number of pairs, :math:`Q_{ij} = 1 - p_{ij}` on
    them, P the row softmax over the nodes of other groups. 0 without pairs.

    Args:
        temperature: :math:`\tau`.
        group: g, ``(n,)``: nodes of one group are positives of each other.
    """

    def __init__(self, temperature: float, group: Tensor):
        self.temperature, self.group = temperature, group
        ordered = group.sort().values
        sizes = torch.searchsorted(ordered, ordered, right=True) - torch.searchsorted(ordered, ordered)
        self.pairs = (sizes - 1).sum().clamp(min=1)

    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        own = self.group[rows].unsqueeze(1) == self.group
        lse, share = row_softmax((similarity / self.temperature).masked_fill(own, -math.inf))
        lonely = own.all(1, keepdim=True)  # without negatives a positive has the whole share
        gap = (lse.unsqueeze(1) - similarity / self.temperature).masked_fill(lonely, -math.inf)
        own.scatter_(1, rows.unsqueeze(1), False)
        rest = torch.sigmoid(gap) * own
        slope = share * rest.sum(1, keepdim=True) - rest
        value = torch.logaddexp(gap, torch.zeros_like(gap)).masked_fill(~own, 0).sum()
        return value / self.pairs, slope.div_(self.temperature).div_(self.pairs)


class HardNegatives(PairTerm):
    r"""InfoNCE with sharpened, debiased negatives, `Robinson et al. 2021 <https://arxiv.org/abs/2010.04592>`_.

    .. math::
        L = -\frac1n \sum_i \log \frac{e^{s_{i+}/\tau}}{e^{s_{i+}/\tau} + N_i}, \qquad
        N_i = \max\Big( \frac{R_i - \tau^+ N e^{s_{i+}/\tau}}{1 - \tau^+}, \; N e^{-1/\tau} \Big), \qquad
        R_i = N \, \frac{\sum_k e^{(1 + \beta) s_{ik}/\tau}}{\sum_k e^{\beta s_{ik}/\tau}},

    k over the N views of other samples, as in the authors' code. With :math:`Q_\beta` the row softmax at temperature
    :math:`\tau / \beta`, each row repels along :math:`(1 + \beta) Q_{1 + \beta} - \beta Q_\beta`. For V > 2 the loss is
    the mean over the positives.

    Args:
        temperature: :math:`\tau`.
        beta: :math:`\beta \ge 0`; 0 leaves the debiased loss of `Chuang et al. 2020
            <https://arxiv.org/abs/2007.00224>`_.
        tau_plus: :math:`\tau^+`, the share of negatives from the anchor's class.
        num_views: V; nodes are view-major.
        own: rows of this rank, if ``x`` was gathered from several.
    """

    def __init__(self, temperature: float, beta: float, tau_plus: float, num_views: int, own: LocalRows | None = None):
        self.temperature, self.beta, self.tau_plus = temperature, beta, tau_plus
        self.num_views, self.own = num_views, own

    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        n, top = similarity.size(1), 1 / self.temperature
        size, negatives = n // self.num_views, n - self.num_views
        logits = similarity / self.temperature
        own = (torch.arange(n, device=rows.device) - rows.unsqueeze(1)) % size == 0
        high, sharp = row_softmax((logits * (1 + self.beta)).masked_fill_(own, -math.inf))
        low, flat = row_softmax((logits * self.beta).masked_fill_(own, -math.inf))
        # All exponentials are relative to e^(1/τ), the largest possible one.
        spread = negatives * (high - low - top).exp()
        floor = negatives * math.exp(-2 * top)
        value, to_spread, slope = logits.new_zeros(()), torch.zeros_like(spread), torch.zeros_like(logits)
        for shift in range(1, self.num_views):
            column = ((rows + shift * size) % n).unsqueeze(1)
            gap = logits.gather(1, column).squeeze(1) - top
            positive = gap.exp()
            debiased = (spread - self.tau_plus * negatives * positive) / (1 - self.tau_plus)
            active = (debiased > floor).to(logits.dtype)
            total = positive + debiased.clamp(min=floor)
            value += (total.log() - gap).sum()
            rate = active / (1 - self.tau_plus) / total
            to_spread += rate * spread
            to_positive = positive * (1 / total - self.tau_plus * negatives * rate) - 1
            slope.scatter_add_(1, column, to_positive.unsqueeze(1))
        slope += to_spread.unsqueeze(1) * ((1 + self.beta) * sharp - self.beta * flat)
        count = n * (self.num_views - 1)
        return value / count, slope / (count * self.temperature)


class LogisticPairs(PairTerm):
    r"""One binary decision per pair of views, `SigLIP <https://arxiv.org/abs/2303.15343>`_: no degree normalization.

    .. math::
        L = -\frac{1}{B V (V - 1)} \sum_{ij} \log \sigma(y_{ij} (t s_{ij} + b)), \qquad
        m_i \propto t \sum_j y_{ij} \, \sigma(-y_{ij} (t s_{ij} + b)) \, x_j,

    :math:`y` = 1 for two views of one sample and −1 otherwise, over the pairs of different view number (SigLIP's image
    and text). Messages go to :math:`\log t` and :math:`b` as well.

    Args:
        log_scale: :math:`\log t`, a scalar parameter.
        bias: :math:`b`, a scalar parameter.
        num_views: V; nodes are view-major.
        own: rows of this rank, if ``x`` was gathered from several.
    """

    def __init__(self, log_scale: Tensor, bias: Tensor, num_views: int, own: LocalRows | None = None):
        self.learned, self.num_views, self.own = (log_scale, bias), num_views, own

    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        n = similarity.size(1)
        size = n // self.num_views
        node = torch.arange(n, device=rows.device)
        scale, bias = self.learned[0].to(similarity.dtype).exp(), self.learned[1].to(similarity.dtype)
        sign = torch.where((node - rows.unsqueeze(1)) % size == 0, 1.0, -1.0).to(similarity.dtype)
        sign.masked_fill_(node // size == (rows // size).unsqueeze(1), 0)
        logits = sign * (scale * similarity + bias)
        count = n * (self.num_views - 1)
        loss = F.softplus(-logits).masked_fill_(sign == 0, 0).sum() / count
        slope = -sign * torch.sigmoid(-logits) / count
        return loss, scale * slope, (scale * slope * similarity).sum(), slope.sum()
