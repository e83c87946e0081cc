"""Suites of runs: methods × seeds at one budget, and their comparison."""

from cl_as_gnn.compare.results import compared, interval, markdown, rich_table, summarize
from cl_as_gnn.compare.runs import run_suite
from cl_as_gnn.compare.suite import Budget, Cell, Suite, load_suite

__all__ = [
    "Budget",
    "Cell",
    "Suite",
    "compared",
    "interval",
    "load_suite",
    "markdown",
    "rich_table",
    "run_suite",
    "summarize",
]
