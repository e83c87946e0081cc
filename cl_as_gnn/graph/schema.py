"""Node and edge types of a minibatch graph, each named once.

Every edge type is ``(source, relation, target)``: messages flow from the source to the target, which is attracted.
"""

AUGMENTATION = ("view", "augmentation", "view")
"""Two views of one sample."""

AFFINITY = ("view", "affinity", "view")
"""A view and its nearest neighbors among the views."""

SAMPLE_AFFINITY = ("sample", "affinity", "sample")
"""A sample and its neighbors among the samples: in feature space, in a graph of the data, or by label."""

TARGET_AUGMENTATION = ("target", "augmentation", "view")
"""A target without gradient and the other views of its sample."""

REWIRED = ("neighbour", "rewired", "view")
"""A row of a memory, neighbor of a positive, and the anchor of that positive."""

TARGET_NEIGHBOR = ("neighbour", "nearest", "target")
"""A row of a memory and the target whose mean it joins."""

STAGE = ("past", "stage", "target")
"""The features of a sample in an earlier epoch and the targets of its views."""

NEAREST = "nearest"
"""Relation from a node's nearest neighbors, its positives, to the node, of any one node type."""

SAME_LABEL = "same_label"
"""Relation between nodes of one label, of any one node type."""

TOKEN_TARGET = ("token", "target", "patch")
"""The center of a token and the hidden patches that have it."""

CONTEXT_TOKEN = ("token", "target", "context")
"""A token and the contexts that are to predict it."""

CO_OCCURRENCE = ("context", "co_occurrence", "context")
"""Two contexts that are to predict the same token, over two hops."""
