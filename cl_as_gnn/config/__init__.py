"""One typed, frozen tree of settings, read from YAML and ``key=value`` overrides."""

from cl_as_gnn.config.data import (
    SHIFTS,
    AugmentConfig,
    DataConfig,
    GraphAugmentConfig,
    GraphDataConfig,
    PhotoConfig,
    Settings,
)
from cl_as_gnn.config.load import build_config, flatten, load_config, merge, parse_overrides, read_yaml, to_yaml, told
from cl_as_gnn.config.tree import (
    LISTS_ABOVE,
    EncoderConfig,
    EvalConfig,
    MethodConfig,
    OptimConfig,
    RunConfig,
    TrainerConfig,
)

__all__ = [
    "LISTS_ABOVE",
    "SHIFTS",
    "AugmentConfig",
    "DataConfig",
    "EncoderConfig",
    "EvalConfig",
    "GraphAugmentConfig",
    "GraphDataConfig",
    "MethodConfig",
    "OptimConfig",
    "PhotoConfig",
    "RunConfig",
    "Settings",
    "TrainerConfig",
    "build_config",
    "flatten",
    "load_config",
    "merge",
    "parse_overrides",
    "read_yaml",
    "to_yaml",
    "told",
]
