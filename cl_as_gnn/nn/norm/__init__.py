"""Norm layers as PyG's models call them: ``norm(x, batch, batch_size)``, the width first in the constructor.

PyG's models find a norm by name among the classes of ``torch_geometric.nn.norm`` and nowhere else, so importing this
package adds :class:`ContraNorm` there: ``GCN(..., norm="ContraNorm", norm_kwargs={"scale": 0.5})``. A class of that
name that PyG should bring one day is left alone. An instance, ``GCN(..., norm=ContraNorm(64))``, needs no name.

The control for centring is PyG's own ``MeanSubtractionNorm()``, given as an instance (it takes no width).
"""

from torch_geometric.nn import norm as _pyg_norm

from cl_as_gnn.nn.norm.contra_norm import ContraNorm

if not hasattr(_pyg_norm, "ContraNorm"):
    _pyg_norm.ContraNorm = ContraNorm

__all__ = ["ContraNorm"]
