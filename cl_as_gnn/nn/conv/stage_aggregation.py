from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class StageAggregation(torch.nn.Module):
    r"""Jumping knowledge over training stages, the multi-stage aggregation of `"A Message Passing Perspective on
    Learning Dynamics of Contrastive Learning" <https://arxiv.org/abs/2303.04435>`_.

    .. math::
        \hat z_i = \frac{\sum_{r=0}^{s-1} \gamma_r m_{ir} \, z_i^{(r)} / \lVert z_i^{(r)} \rVert}
                        {\sum_{r=0}^{s-1} \gamma_r m_{ir}},

    where :math:`z^{(r)}` are the features r stages ago (one node of the past each, with a directed edge into the
    present) and :math:`m_{ir}` says whether sample i has been seen then. Every stage is normalised before it is
    mixed, so that :math:`\gamma` alone sets the shares.

    Args:
        weights: :math:`\gamma`, present first; any positive scale. PyG's ``JumpingKnowledge`` has no such form.

    Shapes:
        - **input:** stages :math:`(s, n, d)`, seen :math:`(s, n)` (everything seen if not given)
        - **output:** :math:`(n, d)`, rows no longer than 1: their length says how far the stages agree
    """

    def __init__(self, weights: Sequence[float] = (0.5, 0.5)):
        super().__init__()
        if not weights or any(w < 0 for w in weights) or sum(weights) == 0:
            raise ValueError(f"StageAggregation wants non-negative weights that are not all zero, got {list(weights)}")
        self.register_buffer("weights", torch.tensor(list(weights), dtype=torch.float32))
        self.weights: Tensor

    def reset_parameters(self) -> None:
        r"""Nothing is learned; here because PyG's containers call it."""

    def forward(self, stages: Tensor, seen: Tensor | None = None) -> Tensor:
        if stages.size(0) != self.weights.numel():
            raise ValueError(f"StageAggregation has {self.weights.numel()} weights, got {stages.size(0)} stages")
        share = self.weights.to(stages.dtype).view(-1, 1).expand(stages.shape[:2])
        if seen is not None:
            share = share * seen
        share = share / share.sum(0).clamp(min=torch.finfo(stages.dtype).tiny)
        return (share.unsqueeze(-1) * F.normalize(stages, dim=-1)).sum(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(weights={[round(float(w), 4) for w in self.weights]})"
