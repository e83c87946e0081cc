from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.streaming import softmax_bipartite
from cl_as_gnn.nn.terms.base import Term, total_weight


class TokenContrast(Term):
    r"""Nodes attract to the center of their token, and all centers repel by a softmax: a classifier as messages.

    .. math::
        L = -\frac1W \sum_i \rho_i \log \frac{e^{x_i \cdot c_{t(i)} / \tau}}{\sum_k e^{x_i \cdot c_k / \tau}}, \qquad
        \text{message to } X = \frac{1}{W \tau} R (T - P) C, \quad
        \text{message to } C = \frac{1}{W \tau} (T - P)^\top R X,

    :math:`T` the bipartite graph from tokens to nodes (:math:`T_{ik} = 1` if node i has token k), or fixed shares of
    the tokens in each node, which attract in proportion (the cross-entropy of a distribution); :math:`P` the row
    softmax, :math:`R = \mathrm{diag}(\rho)`, :math:`W = \sum_i \rho_i`. The value is the cross-entropy of a linear
    classifier without bias, the loss of `ClusterMIM <https://arxiv.org/abs/2407.09087>`_ and of any token prediction.

    Args:
        token: token of each node, ``(n,)``, from 0 to K − 1, or :math:`T` ``(n, K)``, whose rows sum to one.
        centers: :math:`C` ``(K, d)``, parameters that receive their message.
        temperature: :math:`\tau`.
        row_weight: :math:`\rho`, one for each node; all ones by default.
        chunk: number of nodes per strip; by the memory of the device by default.
    """

    def __init__(
        self,
        token: Tensor,
        centers: Tensor,
        temperature: float = 1.0,
        row_weight: Tensor | None = None,
        chunk: int | None = None,
    ):
        self.token, self.temperature, self.row_weight, self.chunk = token, temperature, row_weight, chunk
        self.learned = (centers,)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        centers = self.learned[0].detach().to(x.dtype)
        weight = x.new_ones(x.size(0)) if self.row_weight is None else self.row_weight.to(x.dtype)
        lse, repelled, back = softmax_bipartite(x, centers, self.temperature, weight, chunk=self.chunk)
        total, weighted = total_weight(weight), weight.unsqueeze(1)
        if self.token.is_floating_point():
            shares = self.token.detach().to(x.dtype)
            own, attracted = shares @ centers, shares.t() @ (x * weighted)
        else:
            own = centers[self.token]
            attracted = torch.zeros_like(centers).index_add_(0, self.token, x * weighted)
        value = (weight * (lse - (x * own).sum(1) / self.temperature)).sum() / total
        scale = 1 / (self.temperature * total)
        to_centers = (attracted - back) * scale
        return value, (own * weighted - repelled) * scale, to_centers.to(self.learned[0].dtype)


class MeanEntropy(Term):
    r"""All tokens are to be used alike: the entropy of the mean share of each token, from its largest value down.

    .. math::
        L = w \sum_k \bar p_k \log (K \bar p_k), \quad \bar p = \tfrac1n \sum_i P_{i \cdot}, \qquad
        \text{message to } X = -\frac{w}{n \tau} G C, \quad
        G_{ik} = P_{ik} \Big( \log \bar p_k - \sum_l P_{il} \log \bar p_l \Big),

    and :math:`-\frac{w}{n \tau} G^\top X` to the centers C; P the row softmax of :math:`x_i \cdot c_k / \tau`. Nodes
    leave the tokens that many have for those that few have: the regularizer of
    `MSN <https://arxiv.org/abs/2204.07141>`_.

    Args:
        centers: :math:`C` ``(K, d)``, parameters that receive their message.
        temperature: :math:`\tau`.
        weight: w.
    """

    def __init__(self, centers: Tensor, temperature: float = 1.0, weight: float = 1.0):
        self.temperature, self.weight = temperature, weight
        self.learned = (centers,)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        centers = self.learned[0].detach().to(x.dtype)
        share = (x @ centers.t() / self.temperature).softmax(1)
        mean = share.mean(0)
        log = mean.clamp(min=torch.finfo(x.dtype).tiny).log()
        value = self.weight * (mean @ log + math.log(len(centers)))
        flow = share * ((share @ log).unsqueeze(1) - log) * (self.weight / (len(x) * self.temperature))
        return value, flow @ centers, (flow.t() @ x).to(self.learned[0].dtype)


class Regression(Term):
    r"""Each node attracts to a fixed target of its own, by the squared distance.

    .. math::
        L = \frac{1}{n d} \sum_i \lVert x_i - y_i \rVert^2, \qquad m_i = \frac{2}{n d} (y_i - x_i).

    Args:
        target: :math:`Y` ``(n, d)``, which gets no message.
    """

    def __init__(self, target: Tensor):
        self.target = target

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gap = self.target.detach().to(x.dtype) - x
        return gap.square().mean(), gap * (2 / gap.numel())
