"""The whole method of a run: encoder, heads, momentum copy and memories."""

from __future__ import annotations

from typing import Any

from cl_as_gnn.config import RunConfig
from cl_as_gnn.errors import RunError
from cl_as_gnn.methods import Method, build_method
from cl_as_gnn.runs.folder import RunFolder, load_checkpoint
from cl_as_gnn.tasks.base import Task


def load_method(config: RunConfig, task: Task, run: RunFolder | None = None) -> Method[Any]:
    """Build the method of a config in eval mode on the CPU, with the state of a run's last checkpoint if given.

    Raises:
        ConfigError: the run has no checkpoint yet.
        RunError: the checkpoint cannot be read or does not fit the method.
    """
    method = build_method(config.method, task.encoder(), config.encoder, task.size)
    if run is not None:
        state = load_checkpoint(run)["state_dict"]
        try:
            method.load_state_dict({k.removeprefix("method."): v for k, v in state.items() if k.startswith("method.")})
        except RuntimeError:
            raise RunError(
                f"{run.checkpoint} does not fit the method {config.method.name!r} of this version, or its data set has "
                "changed: use the version of cl_as_gnn and the images that trained it, or train again"
            ) from None
    return method.eval()
