"""The tree of settings: typed, frozen, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cl_as_gnn.config.data import SHIFTS, AugmentConfig, Classes, DataConfig, GraphDataConfig, Settings, Shift
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS, Registry

SECTIONS: dict[str, Registry[Any]] = {"data": DATASETS, "encoder": ENCODERS, "method": METHODS}
_DEFAULT: Any = {}  # of a section: the registry names its default entry


class EncoderConfig(Settings):
    """The encoder, and the head that is dropped after training."""

    name: str = Field(ENCODERS.default, description="see clgnn encoders")
    projector_hidden: int = Field(256, ge=8, le=65536, description="hidden width of the projector")
    projector_dim: int = Field(128, ge=2, le=65536, description="dimension d of the features that messages act on")
    projector_layers: int = Field(2, ge=0, le=4, description="0: messages act on the features themselves")
    predictor_hidden: int = Field(64, ge=2, le=65536, description="bottleneck of the predictor, where a method has one")


LISTS_ABOVE = 65_536
"""Rows of a memory from which inverted lists find neighbors faster than a product with all rows (docs/scaling.md)."""


class MethodConfig(Settings):
    """Settings of every method; its own class in :mod:`cl_as_gnn.methods` adds to them and sets ``name``."""

    name: str
    num_views: int = Field(2, ge=2, le=16, description="views V drawn from each image")


class OptimConfig(Settings):
    """The optimizer. The learning rate rises linearly; then it falls to zero along a half cosine, or stays constant."""

    name: Literal["adamw", "adam", "sgd", "lars"] = Field(
        "adamw", description="the optimizer; adam: weight decay as part of the gradient"
    )
    lr: float = Field(4e-3, gt=0, description="peak learning rate, not scaled by the batch size")
    weight_decay: float = Field(1e-4, ge=0, description="not applied to biases and normalization layers")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd and lars")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of all steps in which the rate rises")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="the rate after its rise")


def _loggers(value: Any) -> Any:
    """Names as a list. ``none`` and ``csv`` name no logger, since every run writes metrics.csv."""
    names = [] if value is None else [value] if isinstance(value, str) else value
    return [name for name in names if name not in ("none", "csv")] if isinstance(names, list | tuple) else value


def _callbacks(value: Any) -> Any:
    """Each as a mapping with ``class``, and the arguments of it."""
    given = [] if value is None else [value] if isinstance(value, str | Mapping) else value
    if not isinstance(given, list | tuple):
        raise ValueError("expects a list, as in [my_package.my_module:MyCallback]")
    out = [{"class": item} if isinstance(item, str) else item for item in given]
    for item in out:
        name = item.get("class") if isinstance(item, Mapping) else item
        if not isinstance(name, str) or not all(part.strip() for part in name.split(":")) or name.count(":") != 1:
            raise ValueError("expects <module>:<class>, or {class: <module>:<class>, argument: value}")
    return out


class TrainerConfig(Settings):
    """Epochs, batches, devices, and who watches."""

    epochs: int = Field(100, ge=1, description="passes over the training samples")
    batch_size: int = Field(256, ge=2, description="images (nodes, graphs) per step, over all devices")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto = bf16 where that is fast")
    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="auto = a GPU if there is one")
    devices: int = Field(1, ge=1, description="GPUs of each machine, or processes where there are none")
    num_nodes: int = Field(1, ge=1, description="machines")
    compile: bool = Field(False, description="torch.compile the encoder, on a GPU the views too: pays off in long runs")
    checkpoint_every: int = Field(
        1000, ge=0, description="steps between two checkpoints within an epoch; 0: only at its end"
    )
    logger: Annotated[tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...], BeforeValidator(_loggers)] = (
        Field(("tensorboard",), description="who gets epochs, scores and settings besides metrics.csv; or none")
    )
    callbacks: Annotated[tuple[dict[str, JsonValue], ...], BeforeValidator(_callbacks)] = Field(
        (), description="Lightning callbacks, <module>:<class> or {class: <module>:<class>, argument: value}"
    )

    @property
    def ranks(self) -> int:
        """Processes that share a batch, one per device."""
        return self.devices * self.num_nodes


class EvalConfig(Settings):
    """The protocol of the scores."""

    split: Literal["test", "validation"] = Field("test", description="scored split; validation to choose settings")
    root: Path | None = Field(None, description="folder of other labeled images to score on, None = the run's own")
    shifts: tuple[Shift, ...] = Field((), description="changes of the test images under which probes are scored too")
    transfer: Path | None = Field(None, description="folder of labeled images to fit new probes on, and score them")
    transfer_classes: Classes = Field(
        None, description="the classes of eval.transfer, or without a folder of the run's own data set, to transfer to"
    )
    knn_k: int = Field(20, ge=1, description="neighbors that vote in the kNN score")
    knn_temperature: float = Field(0.07, gt=0, description="a neighbor's vote weighs exp(cosine / this)")
    draws: int = Field(10, ge=1, description="draws of the few labels")
    baselines: bool = Field(True, description="also score the inputs and the untrained encoder")
    online_every: int = Field(1, ge=1, description="epochs between two online kNN estimates")
    online_size: int = Field(2000, ge=2, description="training images of the online kNN estimate (leave one out)")
    graph_every: int = Field(2, ge=0, description="epochs between two measurements of a minibatch's graph; 0: none")

    @field_validator("shifts")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"expects some of {', '.join(SHIFTS)}, each once, got [{', '.join(value)}]")
        return value

    @property
    def of_images(self) -> dict[str, Any]:
        """The settings that only images can have, by key, where they are set."""
        keys = ("root", "shifts", "transfer", "transfer_classes")
        return {f"eval.{key}": value for key in keys if (value := getattr(self, key))}


class RunConfig(Settings):
    """All settings of a run."""

    data: SerializeAsAny[DataConfig | GraphDataConfig] = _DEFAULT
    encoder: SerializeAsAny[EncoderConfig] = _DEFAULT
    method: SerializeAsAny[MethodConfig] = _DEFAULT
    optim: OptimConfig = OptimConfig()
    trainer: TrainerConfig = TrainerConfig()
    eval: EvalConfig = EvalConfig()
    seed: int = Field(0, ge=0, lt=2**31, description="of weights, batches and views")
    run_dir: Path | None = Field(None, description="None = runs/<data>-<method>-seed<seed>-<time>-<process>")

    @field_validator("data", "encoder", "method", mode="before")
    @classmethod
    def _section_of_its_name(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"a section expects settings, write {info.field_name}.name=NAME")
        assert info.field_name is not None
        return section_of(info.field_name, value).model_validate(dict(value))

    @model_validator(mode="after")
    def _parts_fit(self) -> RunConfig:
        holds, reads = DATASETS[self.data.name].holds, ENCODERS[self.encoder.name].reads
        if holds not in reads:
            fit = [name for name, encoder in ENCODERS.named() if holds in encoder.reads]
            raise ValueError(
                f"encoder.name={self.encoder.name} reads {' and '.join(reads)}, and data.name={self.data.name} holds "
                f"{holds}: use encoder.name={' or '.join(filter(None, [', '.join(fit[:-1]), fit[-1]]))}"
            )
        if holds == "images":
            self._encoder_fits_method()
        if (pool := getattr(self.encoder, "pool", None)) and holds != "graphs":
            raise ValueError(
                f"encoder.pool={pool} is for whole graphs (data.name=tu), and data.name={self.data.name} is contrasted "
                "node by node: drop it"
            )
        if self.generator is not None and self.eval.shifts:
            raise ValueError(
                f"data.generator={self.generator} has changed the colors that eval.shifts would change: drop one"
            )
        local = self.data.augment.local_views if isinstance(self.data.augment, AugmentConfig) else 0
        if local and self.method.num_views < local + 2:
            raise ValueError(
                f"data.augment.local_views={local} of method.num_views={self.method.num_views} views leave fewer than "
                f"two others: set method.num_views={local + 2} or more"
            )
        if holds != "images":
            for key, value in self.eval.of_images.items():
                shown = f"[{', '.join(value)}]" if isinstance(value, tuple) else value
                raise ValueError(f"{key}={shown} is for images, and data.name={self.data.name} holds {holds}: drop it")
        for key in ("devices", "num_nodes"):
            if holds != "images" and (count := getattr(self.trainer, key)) > 1:
                raise ValueError(f"trainer.{key}={count}: a run on a graph takes one device, set trainer.{key}=1")
        return self

    def _encoder_fits_method(self) -> None:
        method, encoder, split = METHODS[self.method.name], self.encoder.name, getattr(self.encoder, "split", 0)
        if method.needs_patches and (split or not ENCODERS[encoder].has_patches):
            raise ValueError(
                f"encoder.split={split}: method.name={self.method.name} hides patches of whole images, drop it"
                if split
                else f"encoder.name={encoder} has no patches for method.name={self.method.name} to hide: use "
                "encoder.name=vit"
            )
        if method.needs_split and not split:
            raise ValueError(
                f"encoder.split=0 has one encoder see all channels, and method.name={self.method.name} contrasts them: "
                "set encoder.split=1"
            )

    @property
    def generator(self) -> str | None:
        """``data.generator`` with the seed of the run filled in."""
        name = getattr(self.data, "generator", None)
        return None if name is None else str(name).replace("{seed}", str(self.seed))

    def stored(self) -> dict[str, Any]:
        """All settings, nested, as JSON has them; a generator by what its file holds, not by its name."""
        tree = self.model_dump(mode="json")
        if self.generator is not None:
            tree["data"]["generator"] = _content(self.generator)
        return tree

    def experiment(self) -> dict[str, Any]:
        """Those of :meth:`stored` that can change a number: without ``run_dir``, ``data.root``, ``data.cache``,
        ``trainer.checkpoint_every`` and ``trainer.logger``."""
        tree = self.stored()
        free = {"data": ("root", "cache"), "trainer": ("checkpoint_every", "logger")}
        for section, keys in ((tree, ("run_dir",)), *((tree[name], keys) for name, keys in free.items())):
            for key in keys:
                section.pop(key, None)
        return tree

    @property
    def digest(self) -> str:
        """Ten hex digits of the experiment; of ``eval.root`` and ``eval.transfer``, whether they are set."""
        tree = self.experiment()
        for key in ("root", "transfer"):
            if tree["eval"].pop(key) is not None:
                tree["eval"][key] = True
        # Since version 0.3: off, they leave the digest as it was.
        for section, key in (
            ("eval", "shifts"),
            ("eval", "transfer_classes"),
            ("data", "classes"),
            ("trainer", "callbacks"),
        ):
            if not tree[section].get(key):
                tree[section].pop(key, None)
        off: dict[str, Any] = {"weights": None, "freeze": 0, "layer_decay": 1.0, "drop_path": None, "split": 0}
        off |= {"checkpointing": False, "generator": None, "shared": False, "lists_above": LISTS_ABOVE, "agreed": False}
        for section in ("encoder", "data", "method"):
            tree[section] = {key: value for key, value in tree[section].items() if (key, value) not in off.items()}
        if tree["encoder"]["name"] == "gnn":  # as it was named before version 0.3
            tree["encoder"]["name"] = tree["encoder"].pop("conv")
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:10]


def _content(generator: str) -> str:
    """What tells generators apart: a digest of the bytes of a file; the name of a color space, or of no file."""
    try:
        return f"sha256:{hashlib.sha256(Path(generator).read_bytes()).hexdigest()[:16]}"
    except OSError:  # told when it is to be read
        return generator


def section_of(key: str, value: Mapping[str, Any]) -> type[BaseModel]:
    """Return the class of a section's settings by the ``name`` in it; ConfigError if nothing has the name."""
    registry: Registry[Any] = SECTIONS[key]
    name = value.get("name", registry.default)
    config: type[BaseModel] = registry["null" if name is None else str(name)].Config
    return config
