from __future__ import annotations

from typing import Literal

import torch
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn.operators import LinearOperator, SameLabel


class SupConConfig(SoftmaxConfig):
    name: Literal["supcon"] = "supcon"


class SupCon(SoftmaxMethod[SupConConfig]):
    r"""`Supervised contrastive learning <https://arxiv.org/abs/2004.11362>`_: all views of one label attract.

    .. math::
        L = -\frac1n \sum_i \frac{1}{|\mathcal{P}(i)|} \sum_{j \in \mathcal{P}(i)}
            \log \frac{e^{x_i \cdot x_j / \tau}}{\sum_{k \neq i} e^{x_i \cdot x_k / \tau}}, \qquad
        A_{ij} = \frac{[y_i = y_j, \, i \neq j]}{|\mathcal{P}(i)|},

    the paper's "out" form. It reads the training labels: an upper bound, not a self-supervised method. A sample without
    a label (−1) attracts to its own views only.
    """

    Config = SupConConfig
    attracts = "all views of the same label, equal weights (reads labels)"
    source = "Khosla et al., NeurIPS 2020"
    reads_labels = True

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        labels = self.labels_of(batch)
        own = -1 - torch.arange(labels.numel(), device=labels.device)
        return SameLabel(torch.where(labels < 0, own, labels).repeat(self.config.num_views))
