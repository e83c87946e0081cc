"""Operators on node features, from which the attraction of every method is built."""

from cl_as_gnn.nn.operators.adjacency import Adjacency
from cl_as_gnn.nn.operators.base import LinearOperator
from cl_as_gnn.nn.operators.composed import LiftToViews, Mixture
from cl_as_gnn.nn.operators.diffusion import Diffusion
from cl_as_gnn.nn.operators.same_label import SameLabel

__all__ = ["Adjacency", "Diffusion", "LiftToViews", "LinearOperator", "Mixture", "SameLabel"]
