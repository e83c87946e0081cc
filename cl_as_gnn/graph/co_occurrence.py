"""Contexts and the tokens that they predict, as a bipartite graph, and its two hops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.schema import CO_OCCURRENCE, CONTEXT_TOKEN
from cl_as_gnn.nn.checks import check_count, check_device, check_integers, check_within


def joint(context: Tensor, token: Tensor, num_contexts: int, num_tokens: int) -> Tensor:
    """B: the joint probability of context and token, ``(num_contexts, num_tokens)``, float64, from pairs ``(n,)``."""
    counts = torch.zeros(num_contexts * num_tokens, dtype=torch.double, device=context.device)
    counts.index_add_(0, context * num_tokens + token, torch.ones_like(token, dtype=torch.double))
    return counts.view(num_contexts, num_tokens) / max(1, token.numel())


def two_hops(b: Tensor) -> Tensor:
    r""":math:`A = B\,\mathrm{diag}(P(S))^{-1} B^\top`, that two contexts meet in a token, ``(n, n)``."""
    share = b.sum(0)
    return (b / share.clamp(min=torch.finfo(b.dtype).tiny)) @ b.t()


def co_occurrence_graph(context: Tensor, token: Tensor, num_contexts: int, num_tokens: int) -> HeteroData:
    r"""The graph of `ClusterMIM <https://arxiv.org/abs/2407.09087>`_: contexts, tokens, and who meets in a token.

    .. math::
        B_{xk} = P(x, S_k), \qquad A_{xx'} = \sum_k \frac{P(x, S_k) P(x', S_k)}{P(S_k)}.

    Args:
        context: context of each pair, ``(n,)``.
        token: token that it is to predict, ``(n,)``.
        num_contexts: number of contexts.
        num_tokens: number of tokens, K.

    Returns:
        ``HeteroData`` with nodes ``context`` and ``token``; edges ``('token', 'target', 'context')`` weighted by B, and
        ``('context', 'co_occurrence', 'context')`` weighted by A without its diagonal, both directions.

    Raises:
        ValueError: for contexts and tokens that are not integers of one length, and (detected on a CPU only) a number
            out of range.
    """
    name = "co_occurrence_graph"
    check_count(name, num_contexts=num_contexts, num_tokens=num_tokens)
    for key, x, size in (("context", context, num_contexts), ("token", token, num_tokens)):
        check_integers(name, x, None if key == "context" else len(context), key, "one of each pair")
        check_within(name, key, x, size, "numbers")
    check_device(name, context, token=token)
    data, b = HeteroData(), joint(context, token, num_contexts, num_tokens)
    data["context"].num_nodes, data["token"].num_nodes = num_contexts, num_tokens
    for kind, dense in ((CONTEXT_TOKEN, b), (CO_OCCURRENCE, two_hops(b).fill_diagonal_(0))):
        target, source = dense.nonzero().t()
        data[kind].edge_index, data[kind].edge_weight = torch.stack([source, target]), dense[target, source]
    return data
