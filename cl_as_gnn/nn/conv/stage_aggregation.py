from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import Got, check_choice, check_device, check_number, expects
from cl_as_gnn.nn.unit import unit_rows


class StageAggregation(torch.nn.Module):
    r"""Jumping knowledge over training stages, the multi-stage aggregation of `"A Message Passing Perspective on
    Learning Dynamics of Contrastive Learning" <https://arxiv.org/abs/2303.04435>`_.

    .. math::
        \hat z_i = \frac{\sum_{r=0}^{s-1} \gamma_r m_{ir} \, z_i^{(r)} / \lVert z_i^{(r)} \rVert}
                        {\sum_{r=0}^{s-1} \gamma_r m_{ir}},

    in matrix form :math:`\hat Z = \sum_r \mathrm{diag}(s_r) \bar Z^{(r)}` with unit rows :math:`\bar z_i^{(r)}` and
    :math:`s_{ir} = \gamma_r m_{ir} / \sum_q \gamma_q m_{iq}`. :math:`z^{(r)}` are the features r stages ago (one node
    of the past each, with a directed edge into the present), :math:`m_{ir}` says whether sample i has been seen then.
    Every stage is normalized before mixing, so that the shares alone set the mixture. They are

    .. math::
        \gamma_r \;\; (\texttt{"fixed"}), \qquad e^{\theta_r} \;\; (\texttt{"learned"}), \qquad
        \gamma_r \, e^{\beta \cos(z_i^{(0)}, z_i^{(r)})} \;\; (\texttt{"attention"}),

    the last of which is attention of every node over its own past. PyG's ``JumpingKnowledge`` has none of the three:
    its attention runs an LSTM over the layers of one pass.

    Args:
        weights: :math:`\gamma`, present first; any positive scale. In mode ``"learned"`` they are the start,
            :math:`\theta = \log \gamma`, and must be positive.
        mode: ``"fixed"``, ``"learned"`` or ``"attention"``.
        sharpness: :math:`\beta`, in mode ``"attention"`` only.

    Shapes:
        - **input:** stages :math:`(s, n, d)`, seen :math:`(s, n)` (everything seen if not given)
        - **output:** :math:`(n, d)`, rows of length at most 1, which measures how far the stages agree; NaN where a
          stage with a share holds NaN
    """

    def __init__(self, weights: Sequence[float] = (0.5, 0.5), mode: str = "fixed", sharpness: float = 1.0):
        super().__init__()
        check_choice("StageAggregation", ("fixed", "learned", "attention"), mode=mode)
        check_number("StageAggregation", sharpness=sharpness)
        what = "as positive numbers to start from" if mode == "learned" else "as numbers >= 0 that are not all zero"
        if not isinstance(weights, list | tuple | Tensor):
            raise expects("StageAggregation", "weights", what, weights)
        numbers: dict[str, Any] = {f"weights[{i}]": weight for i, weight in enumerate(weights)}
        check_number("StageAggregation", **numbers)
        if not min(weights, default=-1) >= 0 or sum(weights) == 0 or (mode == "learned" and min(weights) == 0):
            raise expects("StageAggregation", "weights", what, Got(list(weights)))
        self.mode = mode
        self.sharpness = sharpness
        self.register_buffer("weights", torch.tensor(list(weights), dtype=torch.float32))
        self.weights: Tensor
        self.logits = torch.nn.Parameter(self.weights.log()) if mode == "learned" else None

    def reset_parameters(self) -> None:
        r"""Resets learned shares to the weights."""
        if self.logits is not None:
            with torch.no_grad():
                self.logits.copy_(self.weights.log())

    def forward(self, stages: Tensor, seen: Tensor | None = None) -> Tensor:
        if not isinstance(stages, Tensor) or stages.dim() != 3 or not stages.is_floating_point():
            raise expects("StageAggregation", "stages", "as floating-point features of shape (s, n, d)", stages)
        if stages.size(0) != self.weights.numel():
            raise expects("StageAggregation", "stages", f"for its {self.weights.numel()} weights", stages)
        if seen is not None:
            if not isinstance(seen, Tensor) or seen.shape != stages.shape[:2] or seen.is_complex():
                raise expects("StageAggregation", "seen", f"of shape {tuple(stages.shape[:2])}, (s, n)", seen)
            check_device("StageAggregation", stages, seen=seen)
        unit = unit_rows(stages)
        weights = self.weights if self.logits is None else self.logits.softmax(0)
        share = weights.to(unit.dtype).view(-1, 1).expand(stages.shape[:2])
        if seen is not None:
            share = share * seen
        # What has no share may hold anything.
        unit = unit.masked_fill((share == 0).unsqueeze(-1), 0)
        if self.mode == "attention":
            cosine = (unit[:1] * unit).sum(-1)
            # Relative to the largest cosine of the stages seen, so that sharp attention keeps one of them.
            best = cosine.masked_fill(share == 0, -1).amax(0)
            share = share * (self.sharpness * (cosine - best)).clamp(max=0).exp()
        share = share / share.sum(0).clamp(min=torch.finfo(unit.dtype).tiny)
        return (share.unsqueeze(-1) * unit).sum(0).to(stages.dtype)

    def __repr__(self) -> str:
        mode = "" if self.mode == "fixed" else f", mode={self.mode!r}"
        return f"{type(self).__name__}(weights={[round(float(w), 4) for w in self.weights]}{mode})"
