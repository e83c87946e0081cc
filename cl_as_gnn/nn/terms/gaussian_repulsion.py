from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.terms.pair_term import _STRIP


class GaussianRepulsion:
    r"""Repulsion along a Gaussian kernel normalised once for the whole graph, the uniformity of `Wang & Isola 2020
    <https://arxiv.org/abs/2005.10242>`_.

    .. math::
        L = \frac{w}{V} \sum_v \log \frac{1}{B (B - 1)} \sum_{i \neq j} Q^v_{ij}, \quad
        Q_{ij} = e^{-t \lVert x_i - x_j \rVert^2}, \qquad
        \text{message} = \frac{4 w t}{V} \, \frac{(\mathrm{diag}(Q \mathbf{1}) - Q) X}{\mathbf{1}^\top Q \mathbf{1}},

    among the views of one number only: a Laplacian run backwards, with one global degree.

    Args:
        sharpness: t.
        num_views: V; nodes are view-major.
        weight: w.
    """

    def __init__(self, sharpness: float = 2.0, num_views: int = 1, weight: float = 1.0):
        self.sharpness, self.num_views, self.weight = sharpness, num_views, weight

    def _view(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n, square = x.size(0), x.square().sum(1)
        total, message = x.new_zeros(()), torch.empty_like(x)
        for rows in torch.arange(n, device=x.device).split(max(1, _STRIP // n)):
            kernel = (x[rows] @ x.t()).mul_(2).sub_(square).sub_(square[rows].unsqueeze(1))
            kernel.mul_(self.sharpness).exp_().scatter_(1, rows.unsqueeze(1), 0)
            degree = kernel.sum(1)
            total += degree.sum()
            message[rows] = degree.unsqueeze(1) * x[rows] - kernel @ x
        total.clamp_(min=torch.finfo(x.dtype).tiny)
        return (total / max(1, n * (n - 1))).log(), message * (4 * self.sharpness / total)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            parts = [self._view(part) for part in x.chunk(self.num_views)]
        scale = self.weight / self.num_views
        return scale * torch.stack([p[0] for p in parts]).sum(), scale * torch.cat([p[1] for p in parts])
