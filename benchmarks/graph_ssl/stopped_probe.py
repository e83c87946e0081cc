"""A linear layer trained step by step, the probe of several papers, and what the choice of the step does to it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RATE, DECAY, STEPS = 1e-2, 1e-4, 2000


def stopped_probe(
    x: Tensor, y: Tensor, train: Tensor, validation: Tensor, test: Tensor, seed: int = 0, steps: int = STEPS
) -> dict[str, float]:
    """Test accuracies in per cent of a linear layer on features as they are, by two rules for the step that counts.

    Adam with learning rate 0.01 and weight decay 1e-4, as in the released code of CCA-SSG, which many others took over.

    Args:
        x: features, n × d.
        y: integer classes, n.
        train: mask of the rows to learn from.
        validation: mask of the rows that choose the step.
        test: mask of the rows to score.
        seed: of the layer's first weights.
        steps: how many are taken.

    Returns:
        ``stopped_top1``: of the first step with the best validation accuracy. ``lenient_top1``: that code's own rule,
        the highest test accuracy among all steps at which the validation accuracy was as good as any before, or
        better; the test nodes choose among them.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.empty(int(y.max()) + 1, x.size(1))
    torch.nn.init.xavier_uniform_(weight, generator=generator).requires_grad_()
    bias = torch.zeros(len(weight), requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=RATE, weight_decay=DECAY)

    def accuracy(rows: Tensor) -> float:
        return float((F.linear(x[rows], weight, bias).argmax(1) == y[rows]).float().mean())

    learn, choose, score = (mask.nonzero().squeeze(1) for mask in (train, validation, test))
    best = stopped = lenient = 0.0
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(F.linear(x[learn], weight, bias), y[learn]).backward()
        optimizer.step()
        with torch.no_grad():
            found = accuracy(choose)
            if found >= best:
                tested = accuracy(score)
                stopped = tested if found > best else stopped
                best, lenient = found, max(lenient, tested)
    return {"stopped_top1": 100 * stopped, "lenient_top1": 100 * lenient}
