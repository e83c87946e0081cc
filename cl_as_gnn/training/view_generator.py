"""Train a view generator against two encoders, as ``clgnn views`` does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from cl_as_gnn.compat import tracked
from cl_as_gnn.config import RunConfig
from cl_as_gnn.config.views import ViewsConfig
from cl_as_gnn.datasets import BatchedViews, evenly
from cl_as_gnn.datasets.view_generator import ViewGenerator
from cl_as_gnn.encoders.split import SideBySide
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.methods import Batch, build_method
from cl_as_gnn.runs.folder import check_out, replaced
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import ImageTask, load_task
from cl_as_gnn.training.optim import build_optimizer

# Images on which colors are measured, before training and after it.
_MEASURED = 2048
_LABELED_BATCH = 64


class Classifiers(nn.Module):
    """A classifier of each group of channels, ``(n, C, S, S)`` to logits ``(2, n, classes)``."""

    def __init__(self, encoder: SideBySide, classes: int):
        super().__init__()
        self.encoder, self.widths = encoder, encoder.widths
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in encoder.widths)

    def forward(self, x: Tensor) -> Tensor:
        groups = self.encoder(x).split(self.widths, 1)
        return torch.stack([head(group) for head, group in zip(self.heads, groups, strict=True)])


class Normalize(nn.Module):
    """Fixed shift and scale of each channel."""

    def __init__(self, x: Tensor):
        super().__init__()
        self.mean = nn.Buffer(x.mean((0, 2, 3)).view(3, 1, 1))
        self.std = nn.Buffer(x.std((0, 2, 3)).clamp(min=1e-3).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (x - self.mean) / self.std
        return out


@dataclass
class Trained:
    """A generator, settings to be stored with it, and I_NCE by the encoders of its training before and after it."""

    generator: ViewGenerator
    about: dict[str, Any]
    before: float
    after: float


class Game(nn.Module):
    r"""Two encoders estimate what groups of channels share, and a generator of the channels lowers it.

    .. math::
        \min_g \max_{f_1, f_2} \; I_\text{NCE}\big(f_1(g(x)_1); f_2(g(x)_{2:3})\big), \qquad
        I_\text{NCE} = \log B - L_\text{CMC},

    and with labels :math:`+ \min_{g, c_1, c_2} \mathrm{CE}(c_1(g(x)_1), y) + \mathrm{CE}(c_2(g(x)_{2:3}), y)` (Tian et
    al., NeurIPS 2020, section 5).

    Args:
        config: a run of ``cmc``.
        views: the settings of the generator.
        task: its images.
    """

    def __init__(self, config: RunConfig, views: ViewsConfig, task: ImageTask):
        super().__init__()
        side = task.data.image_size
        self.generator = ViewGenerator(views.space, views.hidden)
        self.draw = BatchedViews(task.augment, side, 3, (0, 0, 0), (1, 1, 1))
        images = task.data.train.squares(evenly(_MEASURED, task.size), side).float() / 255
        with torch.no_grad():
            self.normalize = Normalize(self.generator(images))
        self.estimator = build_method(config.method, task.encoder(), config.encoder, task.size)
        self.classifiers: Classifiers | None = None
        if views.mode == "semi":
            encoder = task.encoder()
            assert isinstance(encoder, SideBySide)
            self.classifiers = Classifiers(encoder, len(task.data.classes))

    def loss(self, x: Tensor, sample: Tensor) -> Tensor:
        """The contrastive loss of views ``x``, normalized channels or not yet colored ones alike."""
        out: Tensor = self.estimator(Batch(self.normalize(x), sample, 0.0))[0]
        return out

    def against(self, x: Tensor, sample: Tensor, labeled: Tensor | None, labels: Tensor | None) -> Tensor:
        """What the generator lowers: I_NCE up to a constant, and the cross-entropy of both classifiers."""
        total = -self.loss(self.generator(x), sample)
        if self.classifiers is not None and labeled is not None and labels is not None:
            logits = self.classifiers(self.normalize(self.generator(labeled)))
            total = total + F.cross_entropy(logits[0], labels) + F.cross_entropy(logits[1], labels)
        return total


def labeled_images(task: ImageTask, views: ViewsConfig, seed: int) -> Tensor:
    """Positions of the training images whose labels are used, at most ``labels`` of them; none without labels."""
    if views.mode != "semi":
        return torch.empty(0, dtype=torch.long)
    order = torch.randperm(len(task.known), generator=torch.Generator().manual_seed(seed))
    return task.known[order[: views.labels]]


def train_generator(config: RunConfig, views: ViewsConfig, console: Console | None = None) -> Trained:
    """Train a view generator on the training images of a config.

    Args:
        config: a run of ``cmc``: images, views, encoders, optimizer, batch size, seed.
        views: the settings of the generator.
        console: shows the progress; the default shows nothing.

    Raises:
        ConfigError: the images are gray, read by the batch or without labels that ``views`` expects.
        RunError: the training diverged.
    """
    console = console or Console(quiet=True)
    task = _images(config, views, console)
    device = pick_device(config.trainer)
    torch.manual_seed(config.seed)
    game = Game(config, views, task).to(device).train()
    images = task.inputs
    assert images is not None
    images, aspect = images.to(device), None if task.aspect is None else task.aspect.to(device)
    known = labeled_images(task, views, config.seed)
    labels, known = task.y[known].to(device), known.to(device)
    size = min(config.trainer.batch_size, task.size)
    rivals = [*game.generator.parameters(), *(game.classifiers.parameters() if game.classifiers else ())]
    groups = [{"params": list(game.generator.parameters()), "lr": views.lr}]
    if game.classifiers:
        groups.append({"params": list(game.classifiers.parameters()), "lr": config.optim.lr})
    learner, rival = build_optimizer(config.optim, game.estimator), torch.optim.Adam(groups, betas=(0.5, 0.999))
    console.print(_told(task, views, size, len(known)), soft_wrap=True)

    def drawn(index: Tensor) -> Tensor:
        out: Tensor = game.draw(images[index], 1, aspect=None if aspect is None else aspect[index])
        return out

    losses = []
    count = views.warmup + views.steps
    for step in tracked(range(count), "Training the views", count, console.is_terminal):
        sample = torch.randint(task.size, (size,), device=device)
        x = drawn(sample)
        with torch.no_grad():
            y = game.generator(x)
        learner.zero_grad(set_to_none=True)
        loss = game.loss(y, sample)
        loss.backward()
        learner.step()
        losses.append(loss.detach())
        if step < views.warmup:
            continue
        few = torch.randint(max(1, len(known)), (min(_LABELED_BATCH, len(known)),), device=device)
        given = (drawn(known[few]), labels[few]) if game.classifiers else (None, None)
        value = game.against(x, sample, *given)
        for parameter, grad in zip(rivals, torch.autograd.grad(value, rivals), strict=True):
            parameter.grad = grad
        rival.step()
    return _finished(game, config, views, task, torch.stack(losses).cpu(), math.log(size))


def _images(config: RunConfig, views: ViewsConfig, console: Console) -> ImageTask:
    """The images of a config, or ConfigError if no generator can be trained on them."""
    if config.trainer.ranks > 1:
        raise ConfigError(f"trainer.devices={config.trainer.devices}: clgnn views trains on one device, drop it")
    task = load_task(config, progress=console.is_terminal)
    assert isinstance(task, ImageTask)
    name = task.name
    if task.data.channels != 3:
        raise ConfigError(f"data.name={name} has {task.data.channels} channel: a view generator expects color images")
    if task.inputs is None:
        raise ConfigError(f"the images of data.name={name} are read by the batch: raise data.memory for clgnn views")
    if views.mode == "semi" and not len(task.known):
        raise ConfigError(f"mode=semi reads labels, and data.name={name} has none: set mode=unsupervised")
    return task


def _told(task: ImageTask, views: ViewsConfig, size: int, known: int) -> str:
    line = (
        f"{views.mode} views in {views.space}, {views.warmup} + {views.steps} steps of {size} of {task.size:,} images"
    )
    return line + f", {known:,} labels" * (known > 0)


def _finished(
    game: Game, config: RunConfig, views: ViewsConfig, task: ImageTask, losses: Tensor, ceiling: float
) -> Trained:
    weights = torch.cat([p.detach().flatten() for p in game.generator.parameters()])
    if not bool(losses.isfinite().all() & weights.isfinite().all()):
        raise RunError(f"the training of the views diverged: lower lr={views.lr:g} or optim.lr={config.optim.lr:g}")
    generator = game.generator.cpu().eval()
    index = evenly(_MEASURED, task.size)
    generator.fit_range(task.data.train.squares(index, task.data.image_size).float() / 255)
    few = min(10, len(losses))
    before = losses[max(0, views.warmup - few) : views.warmup] if views.warmup else losses[:1]
    about = {
        **views.model_dump(mode="json"),
        "seed": config.seed,
        "dataset": task.name,
        "image_size": task.data.image_size,
        "version": version("cl-as-gnn"),
    }
    return Trained(generator, about, ceiling - float(before.mean()), ceiling - float(losses[-few:].mean()))


def check_place(out: Path) -> None:
    """Raise ConfigError unless a generator can be written to ``out``, where nothing is yet."""
    check_out(out, "views are", ".safetensors")
    if out.exists():
        raise ConfigError(f"--out {out} exists: remove it, or name another file")


def write_views(config: RunConfig, views: ViewsConfig, out: Path, console: Console) -> None:
    """Train a view generator, write it to a new file, and say how to use it.

    Raises as :func:`train_generator` and :func:`check_place`, and RunError if the file cannot be written.
    """
    check_place(out)
    trained = train_generator(config, views, console)
    try:
        with replaced(out) as draft:
            trained.generator.save(draft, trained.about)
    except Exception as error:  # safetensors has its own type for a full disk
        raise RunError(f"cannot write {out}: {' '.join(str(error).split())}") from None
    line = f"I_NCE {trained.before:.2f} nats before and {trained.after:.2f} after, by the encoders of this training"
    console.print(f"{line}; encoders that start anew may find more", soft_wrap=True)
    console.print(f"{out}: clgnn train method.name=cmc data.generator={out} …", soft_wrap=True)
