from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.nn.distributed import LocalRows
from cl_as_gnn.nn.terms.pair_term import PairTerm


class LogisticPairs(PairTerm):
    r"""One binary decision per pair of views, `SigLIP <https://arxiv.org/abs/2303.15343>`_: no degree normalization.

    .. math::
        L = -\frac{1}{B V (V - 1)} \sum_{ij} \log \sigma(y_{ij} (t s_{ij} + b)), \qquad
        m_i \propto t \sum_j y_{ij} \, \sigma(-y_{ij} (t s_{ij} + b)) \, x_j,

    :math:`y` = 1 for two views of one sample and −1 else, over the pairs of different view number (SigLIP's image and
    text). Messages go to :math:`\log t` and :math:`b` as well.

    Args:
        log_scale: :math:`\log t`, a scalar parameter.
        bias: :math:`b`, a scalar parameter.
        num_views: V; nodes are view-major.
        own: rows of this rank, where nodes were gathered from several.
    """

    def __init__(self, log_scale: Tensor, bias: Tensor, num_views: int, own: LocalRows | None = None):
        self.learned = (log_scale, bias)
        self.num_views, self.own = num_views, own

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
