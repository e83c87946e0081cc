"""Settings of memories in which neighbors are looked up."""

from __future__ import annotations

from pydantic import Field

from cl_as_gnn.config import LISTS_ABOVE
from cl_as_gnn.methods.base import QueueConfig


class LookupConfig(QueueConfig):
    """Settings of every method that looks up neighbors in a queue."""

    lists_above: int = Field(LISTS_ABOVE, ge=1, description="rows above which inverted lists find neighbors, on a CPU")
