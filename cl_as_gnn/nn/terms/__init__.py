"""Terms: what attracts and what repels, each a loss value and its message."""

from cl_as_gnn.nn.terms.attraction import Attraction, PowerAlignment
from cl_as_gnn.nn.terms.base import Term, objective, term_types
from cl_as_gnn.nn.terms.channels import ChannelCorrelation, ChannelDecorrelation, ChannelSpread
from cl_as_gnn.nn.terms.kernels import BipartiteGaussian, GaussianRepulsion, LinearRepulsion, MomentRepulsion
from cl_as_gnn.nn.terms.pairs import (
    HardNegatives,
    LogisticPairs,
    NegativeRepulsion,
    PairContrast,
    PairTerm,
    SubsetRepulsion,
    hard_positives,
)
from cl_as_gnn.nn.terms.softmax import (
    AnchorContrast,
    BipartiteRepulsion,
    CrossViewRepulsion,
    EdgeContrast,
    KeyContrast,
    QueueContrast,
    SoftmaxRepulsion,
)
from cl_as_gnn.nn.terms.tokens import MeanEntropy, Regression, TokenContrast

__all__ = [
    "AnchorContrast",
    "Attraction",
    "BipartiteGaussian",
    "BipartiteRepulsion",
    "ChannelCorrelation",
    "ChannelDecorrelation",
    "ChannelSpread",
    "CrossViewRepulsion",
    "EdgeContrast",
    "GaussianRepulsion",
    "HardNegatives",
    "KeyContrast",
    "LinearRepulsion",
    "LogisticPairs",
    "MeanEntropy",
    "MomentRepulsion",
    "NegativeRepulsion",
    "PairContrast",
    "PairTerm",
    "PowerAlignment",
    "QueueContrast",
    "Regression",
    "SoftmaxRepulsion",
    "SubsetRepulsion",
    "Term",
    "TokenContrast",
    "hard_positives",
    "objective",
    "term_types",
]
