"""Terms: what attracts and what repels, each a loss value and its message."""

from cl_as_gnn.nn.terms.anchor_contrast import AnchorContrast
from cl_as_gnn.nn.terms.attraction import Attraction
from cl_as_gnn.nn.terms.base import Term, objective, term_types
from cl_as_gnn.nn.terms.bipartite_gaussian import BipartiteGaussian
from cl_as_gnn.nn.terms.bipartite_repulsion import BipartiteRepulsion
from cl_as_gnn.nn.terms.channel_correlation import ChannelCorrelation
from cl_as_gnn.nn.terms.channel_decorrelation import ChannelDecorrelation
from cl_as_gnn.nn.terms.channel_spread import ChannelSpread
from cl_as_gnn.nn.terms.gaussian_repulsion import GaussianRepulsion
from cl_as_gnn.nn.terms.hard_negatives import HardNegatives
from cl_as_gnn.nn.terms.linear_repulsion import LinearRepulsion
from cl_as_gnn.nn.terms.logistic_pairs import LogisticPairs
from cl_as_gnn.nn.terms.negative_repulsion import NegativeRepulsion
from cl_as_gnn.nn.terms.pair_term import PairTerm
from cl_as_gnn.nn.terms.power_alignment import PowerAlignment
from cl_as_gnn.nn.terms.queue_contrast import QueueContrast
from cl_as_gnn.nn.terms.softmax_repulsion import SoftmaxRepulsion
from cl_as_gnn.nn.terms.subset_repulsion import SubsetRepulsion

__all__ = [
    "AnchorContrast",
    "Attraction",
    "BipartiteGaussian",
    "BipartiteRepulsion",
    "ChannelCorrelation",
    "ChannelDecorrelation",
    "ChannelSpread",
    "GaussianRepulsion",
    "HardNegatives",
    "LinearRepulsion",
    "LogisticPairs",
    "NegativeRepulsion",
    "PairTerm",
    "PowerAlignment",
    "QueueContrast",
    "SoftmaxRepulsion",
    "SubsetRepulsion",
    "Term",
    "objective",
    "term_types",
]
