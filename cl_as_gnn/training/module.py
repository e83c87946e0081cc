"""The training step: batches of samples, their views, the loss of the method, and measurements of its graph."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.compat import keep_local
from cl_as_gnn.config import RunConfig
from cl_as_gnn.config.older import stored_state
from cl_as_gnn.datasets import BatchedViews, ImageData
from cl_as_gnn.evaluation import dirichlet_energy, effective_rank, feature_spread, graph_mismatch
from cl_as_gnn.graph import augmentation_edges, knn_edges, view_agreement
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY
from cl_as_gnn.graph.transforms import sample_prototypes
from cl_as_gnn.methods import Batch, Method, build_method
from cl_as_gnn.tasks import ImageTask, Task
from cl_as_gnn.training.optim import build_optimizer, rate_factor

QUANTITIES = ("graph_energy", "graph_rank", "graph_spread", "graph_mismatch", "graph_purity", "graph_agreement")
_K = 5


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """The seed of an epoch: a resumed run draws the numbers of a run that never stopped."""
    return (seed * 1_000_003 + epoch * 8191 + rank) % 2**63


def _stacked(scalars: list[Tensor]) -> Tensor:
    """On the CPU, whose sums do not depend on when a run was resumed."""
    return torch.stack(scalars).cpu() if scalars else torch.empty(0)


def _mean(scalars: list[Tensor]) -> float | None:
    """Mean of those that are not NaN, ``None`` if there are none."""
    mean = float(_stacked(scalars).nanmean())
    return None if math.isnan(mean) else mean


def prefetched(items: Iterable[Tensor], read: Callable[[Tensor], tuple[Tensor, Tensor | None]]) -> Iterator[Any]:
    """Yield ``(item, *read(item))`` in order, while a thread reads the next two."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append((item, pool.submit(read, item)))
            if len(waiting) > 2:
                item, reading = waiting.popleft()
                yield item, *reading.result()
        for item, reading in waiting:
            yield item, *reading.result()


class EpochBatches:
    """Index tensors of an epoch on this rank: a shuffle of the training set, without the incomplete last batch.

    Of samples that are not in memory, each batch also holds the images and their width / height.

    The first batch fixes order and position: Lightning creates the iterator before it restores the progress of a
    resumed run, which may continue within an epoch.
    """

    def __init__(self, module: ContrastiveModule, total: int, config: RunConfig, read: Any = None):
        self.module, self.total, self.seed, self.read = module, total, config.seed, read
        size = min(config.trainer.batch_size, total)
        self.size = size - size % config.trainer.ranks

    def __len__(self) -> int:
        return self.total // self.size

    def __iter__(self) -> Iterator[Any]:
        trainer = self.module.trainer
        done = trainer.fit_loop.batch_idx + 1
        shuffle = torch.Generator().manual_seed(epoch_seed(self.seed, trainer.current_epoch))
        order = self.module.task.order(shuffle)[: len(self) * self.size]
        order = order.view(-1, self.size)[done:].chunk(trainer.world_size, dim=1)[trainer.global_rank].contiguous()
        yield from order.to(self.module.device) if self.read is None else prefetched(order, self.read)


@dataclass
class Minibatch:
    """The nodes of a step, detached from autograd: V views of each of B samples. Labels serve measurements only."""

    x: Tensor  # features that the messages act on, (V·B, d), view-major
    num_views: int
    labels: Tensor  # of the samples, (B,), −1 where unknown
    affinity: tuple[Tensor, Tensor] | None  # edges and weights between samples, if the method attracts along them

    @classmethod
    def of(cls, data: HeteroData, labels: Tensor) -> Minibatch:
        """Take the nodes from the graph of a step, without computing anything."""
        kind = SAMPLE_AFFINITY
        affinity = (data[kind].edge_index, data[kind].edge_weight) if kind in data.edge_types else None
        return cls(data["view"].x.detach(), int(data.num_views), labels, affinity)

    @torch.no_grad()
    def purity(self) -> Tensor:
        """Compute the share of edge weight within a class, a scalar on the device; NaN without labeled edges."""
        if self.affinity is not None:
            (source, target), weight = self.affinity
        elif self.labels.numel() < 2:
            return self.x.new_full((), math.nan)
        else:
            k = min(_K, self.labels.numel() - 1)
            (source, target), similarity = knn_edges(sample_prototypes(self.x, self.num_views), k)
            weight = torch.ones_like(similarity)
        source, target = self.labels[source], self.labels[target]
        weight = weight * ((source >= 0) & (target >= 0))
        return (weight * (source == target)).sum() / weight.sum()

    @torch.no_grad()
    def agreement(self) -> Tensor:
        """Compute the agreement of the nearest neighbors in two views, which takes no labels; NaN for one view."""
        if self.num_views < 2:
            return self.x.new_full((), math.nan)
        return view_agreement(self.x, self.num_views, _K)

    def quantities(self, temperature: float) -> dict[str, float | None]:
        """Compute ``QUANTITIES`` with unit features and τ of the complete affinity graph; ``None`` where undefined."""
        x = F.normalize(self.x.float(), dim=1)
        if self.num_views < 2 or not x.any():
            return dict.fromkeys(QUANTITIES)
        edges = augmentation_edges(self.labels.numel(), self.num_views, x.device)
        mismatch = graph_mismatch(x, edges, temperature=temperature)
        found = float(self.purity()), float(self.agreement())
        values = dirichlet_energy(x, edges), effective_rank(x), feature_spread(x), mismatch, *found
        return {name: None if math.isnan(v) else v for name, v in zip(QUANTITIES, values, strict=True)}


class ContrastiveModule(LightningModule):
    """The training samples on the device, the views and the method of a run. Batches are index tensors.

    Args:
        config: the run.
        task: the samples.
        encoder: a module with ``out_dim`` to train instead of a new encoder of the config.
    """

    def __init__(self, config: RunConfig, task: Task | ImageData, encoder: nn.Module | None = None):
        super().__init__()
        self.task = ImageTask(config, task) if isinstance(task, ImageData) else task
        self.config = self.task.settle() if isinstance(task, ImageData) else config
        self.augment = self.task.views()
        self.method: Method[Any] = build_method(
            config.method, encoder or self.task.encoder(), config.encoder, self.task.size
        )
        if config.trainer.compile:
            self.method.encoder.compile()
        self.register_buffer("inputs", self.task.inputs, persistent=False)
        self.register_buffer("aspect", self.task.aspect, persistent=False)
        self.register_buffer("labels", self.task.labels, persistent=False)
        self.inputs: Tensor | None
        self.aspect: Tensor | None
        self.labels: Tensor | None
        keep_local(self, ["inputs", "aspect", "labels"])  # every rank has read them from its own disk
        self._draws: tuple[torch.Generator, ...] = ()
        self._random: list[Tensor] = []  # states of the generators in the checkpoint of a resumed run
        self.minibatch: Minibatch | None = None
        self._losses: list[Tensor] = []
        self._purities: list[Tensor] = []
        self._agreements: list[Tensor] = []
        self.samples_seen = 0
        self.extended: list[int] = []  # numbers of epochs that the run had before it got more
        self.elapsed: Callable[[], float] = lambda: 0.0

    def train_dataloader(self) -> EpochBatches:
        return EpochBatches(self, self.task.size, self.config, self.task.read)

    def _seed(self) -> None:
        """Seed the epoch."""
        run, epoch = self.config.seed, self.trainer.current_epoch
        torch.manual_seed(epoch_seed(run, epoch, 1))
        if self.trainer.world_size > 1:
            # All ranks draw the same edges of their one graph, and each draws its own views.
            seed = epoch_seed(run, epoch, 2 + self.trainer.global_rank)
            self._draws = (torch.Generator(self.device).manual_seed(seed),)

    def _generators(self) -> list[torch.Generator]:
        """The sources of all randomness of this rank."""
        on_gpu = [torch.cuda.default_generators[self.device.index]] if self.device.type == "cuda" else []
        return [torch.default_generator, *on_gpu, *self._draws]

    def on_train_start(self) -> None:
        """Continue the epoch of the checkpoint, if there is one: within an epoch, Lightning does not start it again."""
        self._losses = [loss.to(self.device) for loss in self._losses]
        self._purities = [purity.to(self.device) for purity in self._purities]
        self._agreements = [agreement.to(self.device) for agreement in self._agreements]
        self._seed()
        if self.config.trainer.compile and self.device.type == "cuda" and isinstance(self.augment, BatchedViews):
            self.augment.compile(dynamic=False)  # about 180 small operators become about 20
        generators = self._generators()
        if len(self._random) == len(generators):  # on another kind of device, the numbers differ in any case
            for generator, state in zip(generators, self._random, strict=True):
                generator.set_state(state)

    def on_train_epoch_start(self) -> None:
        self._seed()
        self._losses.clear()
        self._purities.clear()
        self._agreements.clear()
        self.method.begin_epoch(self.progress)

    @property
    def progress(self) -> float:
        """Share of the training steps that are done."""
        return self.trainer.global_step / max(1, int(self.trainer.estimated_stepping_batches))

    def _views(self, sample: Tensor, source: Tensor | None = None, aspect: Tensor | None = None) -> Any:
        """Views of the samples, whose images are given or in memory."""
        if source is None:
            source = sample if self.inputs is None else self.inputs.index_select(0, sample)
            aspect = None if self.aspect is None else self.aspect.index_select(0, sample)
        sides = {} if aspect is None else {"aspect": aspect}
        return self.augment(source, self.config.method.num_views, *self._draws, **sides)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        sample, *read = (batch,) if isinstance(batch, Tensor) else batch
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            inputs = self._views(sample, *read)
        labels = None if self.labels is None else self.labels[sample]
        loss: Tensor
        loss, data = self.method(Batch(inputs, sample, self.progress, labels))
        self._losses.append(loss.detach())
        # The graph holds the samples of all ranks.
        everyone = data["view"].sample[: len(sample) * self.trainer.world_size]
        known = torch.full_like(everyone, -1) if self.labels is None else self.labels[everyone]
        self.minibatch = Minibatch.of(data, known)
        if self.trainer.current_epoch + 1 == self.trainer.max_epochs:
            self._purities.append(self.minibatch.purity())
            self._agreements.append(self.minibatch.agreement())
        self.samples_seen += len(sample) * self.trainer.world_size
        return loss

    @property
    def epoch_loss(self) -> float:
        """Mean loss of the steps of the current epoch, or of the last epoch before the checkpoint."""
        return float(_stacked(self._losses).mean())

    @property
    def bad_step(self) -> int:
        """The first step of the current epoch whose loss is not finite; the next one where all are, from 1."""
        bad = (~_stacked(self._losses).isfinite()).nonzero()
        return int(bad[0]) + 1 if len(bad) else len(self._losses) + 1

    @property
    def graph_purity(self) -> float | None:
        """Mean over the steps of the last epoch; ``None`` before it, or if no batch had labels and neighbors."""
        return _mean(self._purities)

    @property
    def graph_agreement(self) -> float | None:
        """Mean over the steps of the last epoch; ``None`` before it, or with one view."""
        return _mean(self._agreements)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["cl_as_gnn"] = {
            "config": self.config.stored(),
            "seconds": self.elapsed(),
            "loss": _stacked(self._losses),  # of the steps of this epoch so far
            "graph_purity": _stacked(self._purities),
            "graph_agreement": _stacked(self._agreements),
            "random": self._random_states(),
            "extended": self.extended,
        }

    def _random_states(self) -> list[list[Tensor]]:
        """The states of the generators of every rank."""
        own = [generator.get_state() for generator in self._generators()]
        states = [own] * self.trainer.world_size
        if self.trainer.world_size > 1:
            torch.distributed.all_gather_object(states, own)
        return states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        stored = checkpoint["cl_as_gnn"]
        stored_state(checkpoint["state_dict"], self.config.method.name)
        self.extended = list(stored.get("extended", ()))
        if (epochs := stored["config"]["trainer"]["epochs"]) < self.config.trainer.epochs:
            self.extended.append(epochs)
        # Checkpoints of versions before 0.3 hold the means, and no generators: they are of the end of an epoch.
        self._losses = list(torch.as_tensor(stored["loss"]).reshape(-1))
        purities = stored.get("graph_purity")
        self._purities = [] if purities is None else list(torch.as_tensor(purities).reshape(-1))
        self._agreements = list(stored.get("graph_agreement", ()))
        self._random = stored["random"][self.trainer.global_rank] if "random" in stored else []

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = build_optimizer(self.config.optim, self.method)
        total = int(self.trainer.estimated_stepping_batches)
        factor = partial(rate_factor, total=total, config=self.config.optim)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
