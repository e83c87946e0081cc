"""What started the processes of a run, as a plugin of Lightning."""

from __future__ import annotations

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from cl_as_gnn.config import TrainerConfig
from cl_as_gnn.runs.process import launched


class _Srun(SLURMEnvironment):
    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Done by :func:`~cl_as_gnn.runs.process.check_ranks`, in its own words."""


def cluster(config: TrainerConfig) -> list[ClusterEnvironment]:
    """Lightning's plugin for the processes of a run, which takes each process of a Slurm job for one of srun."""
    launcher, _ = launched(config)
    return (
        [] if launcher == "torchrun" else [_Srun(auto_requeue=False) if launcher == "srun" else LightningEnvironment()]
    )
