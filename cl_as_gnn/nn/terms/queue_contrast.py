from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.streaming import softmax_bipartite
from cl_as_gnn.nn.terms.base import Term


class QueueContrast(Term):
    r"""One-way edges from a key that attracts and from a queue of keys that repel, `MoCo
    <https://arxiv.org/abs/1911.05722>`_.

    .. math::
        L = -\frac1n \sum_i
            \log \frac{e^{x_i \cdot k_i / \tau}}{e^{x_i \cdot k_i / \tau} + \sum_q e^{x_i \cdot q / \tau}}, \qquad
        m_i = \frac{1 - p_i}{n \tau} \Big( k_i - \sum_q P_{iq} \, q \Big),

    :math:`p_i` the share of the key, :math:`P` the row softmax over the queue. Of several keys per node, the mean.

    Args:
        key: keys of each node, ``(k, n, d)``; they get no message.
        queue: ``(K, d)``.
        temperature: :math:`\tau`.
    """

    def __init__(self, key: Tensor, queue: Tensor, temperature: float):
        self.key, self.queue, self.temperature = key, queue, temperature

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        key, scale = self.key.detach().to(x.dtype), 1 / self.temperature
        lse, repelled, _ = softmax_bipartite(x, self.queue.to(x.dtype), self.temperature)
        logits = (x * key).sum(2) * scale
        total = torch.logaddexp(logits, lse)
        rest = (lse - total).exp().unsqueeze(2)
        return (total - logits).mean(), (rest * (key - repelled)).sum(0) * (scale / logits.numel())
