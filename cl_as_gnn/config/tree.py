"""The tree of settings: typed, frozen, checked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from cl_as_gnn.errors import unknown
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS, Registry

SECTIONS: dict[str, Registry[Any]] = {"data": DATASETS, "encoder": ENCODERS, "method": METHODS}
Probability = Annotated[float, Field(ge=0, le=1)]
Probabilities = Probability | tuple[Probability, Probability]
SPACES = ("rgb", "ydbdr")
"""Color spaces that ``data.generator`` may name instead of a file."""
_DEFAULT: Any = {}  # of a section: the registry names its default entry


class Settings(BaseModel):
    """Base class of every section: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_no_truth(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("true and false mean nothing here")
        return value


class AugmentConfig(Settings):
    """How one view is drawn from one image; each image of a batch gets its own draw."""

    crop_scale: tuple[float, float] = Field((0.2, 1.0), description="share of the image area that a crop keeps")
    crop_ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="aspect ratio of the crop, drawn log-uniformly")
    distance: float | None = Field(
        None, ge=0, lt=1, description="crops of one image have one size and lie this share of its sides apart"
    )
    rotate: float = Field(0.0, ge=0, le=180, description="largest rotation, in degrees either way")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    jitter: tuple[float, float, float, float] = Field(
        (0.4, 0.4, 0.4, 0.1), description="strength of brightness, contrast, saturation and hue (hue at most 0.5)"
    )
    jitter_prob: float = Field(0.8, ge=0, le=1, description="probability of jittering the colors")
    grayscale: float = Field(0.2, ge=0, le=1, description="probability of dropping the colors")
    # a pair holds the probabilities of views 0, 2, … and of views 1, 3, …
    blur: Probabilities = Field(0.0, description="probability of a Gaussian blur (sigma 0.1 to 2)")
    solarize: Probabilities = Field(0.0, description="probability of inverting what is brighter than half")
    local_views: int = Field(0, ge=0, le=14, description="how many of method.num_views are small views (multi-crop)")
    local_size: int | None = Field(None, ge=4, le=512, description="their side in pixels, None = 3/7 of the others'")
    local_scale: tuple[float, float] = Field((0.05, 0.25), description="share of the image area that they keep")

    @field_validator("jitter")
    @classmethod
    def _strengths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) < 0 or value[3] > 0.5:
            raise ValueError(f"expects four strengths of at least 0, the last (hue) at most 0.5, got {list(value)}")
        return value

    @model_validator(mode="after")
    def _within(self) -> AugmentConfig:
        widest = min(1.0, math.sqrt(self.crop_scale[1] * max(self.crop_ratio[1], 1 / self.crop_ratio[0])))
        if self.distance is not None and widest + self.distance > 1:
            raise ValueError(
                f"distance={self.distance:g} leaves no room for crops with sides of up to {widest:.2g} of the image's: "
                "lower crop_scale, as in crop_scale=[0.1, 0.1]"
            )
        return self

    @field_validator("crop_scale", "crop_ratio", "local_scale")
    @classmethod
    def _ordered(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError(f"expects two positive numbers, the smaller first, got {list(value)}")
        if info.field_name != "crop_ratio" and value[1] > 1:
            raise ValueError(f"expects shares of the image, at most 1, got {list(value)}")
        return value


class DataConfig(Settings):
    """Which images, and how views of them are drawn."""

    name: str = DATASETS.default
    root: Path | None = Field(None, description="folder that holds the data set (digits needs none)")
    image_size: int | None = Field(None, ge=4, le=512, description="side of the views in pixels, see PhotoConfig")
    validation: float = Field(0.1, ge=0, lt=0.9, description="share of the training images kept for choosing settings")
    split_seed: int = Field(0, ge=0, lt=2**31, description="seed of the split into training, validation and test")
    augment: AugmentConfig | None = Field(None, description="None = the recipe of the data set or of the image size")
    generator: str | None = Field(
        None, description="file of clgnn views that colors the images once; {seed} is that of the run; or ydbdr"
    )

    @model_validator(mode="after")
    def _fits(self) -> DataConfig:
        if self.image_size is not None and not isinstance(self, PhotoConfig):
            raise ValueError(f"data.image_size={self.image_size} is for data.name=folder and the like: drop it")
        return self


class PhotoConfig(DataConfig):
    """Images of any size. Each picture is kept whole, resized to at most twice ``image_size``."""

    image_size: int | None = Field(
        None, ge=4, le=512, description="side of the views in pixels, None = that of the images, or 64 if they differ"
    )
    memory: float = Field(2.0, ge=0, description="GB; more images than that are decoded by the batch, not kept")
    cache: Path | None = Field(None, description="folder that keeps the decoded images, also for other runs")
    max_broken: float = Field(0.01, ge=0, lt=1, description="share of files that may be broken; they are left out")


class GraphAugmentConfig(Settings):
    """How one view is drawn from a graph; a pair holds the probabilities of views 0, 2, … and of views 1, 3, …"""

    drop_edge: Probabilities = Field(0.3, description="probability of dropping an edge")
    # a channel of all nodes, or (whole graphs) all channels of one node
    mask_feature: Probabilities = Field(0.3, description="probability of masking a feature")
    drop_node: Probabilities = Field(0.0, description="tu: probability of dropping a node with its edges")


class GraphDataConfig(Settings):
    """Which graph, or graphs, and how views of them are drawn."""

    name: str = "karate"
    root: Path | None = Field(None, description="folder that holds the data set (karate needs none)")
    dataset: str | None = Field(None, description="planetoid: Cora, CiteSeer or PubMed; tu: MUTAG, PROTEINS, …")
    normalize: bool = Field(True, description="scale the features of each node to sum to one")
    augment: GraphAugmentConfig = GraphAugmentConfig()

    @model_validator(mode="after")
    def _fits(self) -> GraphDataConfig:
        if self.dataset is not None and self.name not in ("planetoid", "tu"):
            raise ValueError(f"data.dataset={self.dataset} is for data.name=planetoid and tu: drop it")
        known = ("Cora", "CiteSeer", "PubMed")
        if self.name == "planetoid" and self.dataset not in (None, *known):
            raise ValueError(unknown("value", str(self.dataset), known, key="data.dataset"))
        if self.name != "tu" and self.augment.drop_node not in (0, (0, 0)):
            raise ValueError(
                f"data.augment.drop_node={self.augment.drop_node}: a node must be in every view to be contrasted; "
                "dropping nodes is for whole graphs (data.name=tu)"
            )
        return self


class EncoderConfig(Settings):
    """The encoder, and the head that is dropped after training."""

    name: str = ENCODERS.default
    projector_hidden: int = Field(256, ge=8, le=65536)
    projector_dim: int = Field(128, ge=2, le=65536, description="dimension d of the features that messages act on")
    projector_layers: int = Field(2, ge=0, le=4, description="0: messages act on the features themselves")
    predictor_hidden: int = Field(64, ge=2, le=65536, description="bottleneck of the predictor, where a method has one")


class MethodConfig(Settings):
    """Settings of every method; its own class in :mod:`cl_as_gnn.methods` adds to them and sets ``name``."""

    name: str
    num_views: int = Field(2, ge=2, le=16, description="views V drawn from each image")


class OptimConfig(Settings):
    """The optimizer. The learning rate rises linearly; then it falls to zero along a half cosine, or stays constant."""

    name: Literal["adamw", "adam", "sgd", "lars"] = "adamw"
    lr: float = Field(4e-3, gt=0, description="peak learning rate, not scaled by the batch size")
    weight_decay: float = Field(1e-4, ge=0, description="not applied to biases and normalization layers")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd and lars")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of all steps in which the rate rises")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="the rate after its rise")


class TrainerConfig(Settings):
    """Epochs, batches and devices."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(256, ge=2, description="images (nodes, graphs) per step, over all devices")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto = bf16 where that is fast")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(1, ge=1, description="GPUs of each machine, or processes where there are none")
    num_nodes: int = Field(1, ge=1, description="machines")
    compile: bool = Field(False, description="torch.compile the encoder: pays off in long runs")
    checkpoint_every: int = Field(
        1000, ge=0, description="steps between two checkpoints within an epoch; 0: only at its end"
    )

    @property
    def ranks(self) -> int:
        """Processes that share a batch, one per device."""
        return self.devices * self.num_nodes


class EvalConfig(Settings):
    """The protocol of the scores."""

    split: Literal["test", "validation"] = Field("test", description="scored split; validation to choose settings")
    root: Path | None = Field(None, description="folder of other labeled images to score on, None = the run's own")
    knn_k: int = Field(20, ge=1)
    knn_temperature: float = Field(0.07, gt=0)
    draws: int = Field(10, ge=1, description="draws of the few labels")
    baselines: bool = Field(True, description="also score the inputs and the untrained encoder")
    online_every: int = Field(1, ge=1, description="epochs between two online kNN estimates")
    online_size: int = Field(2000, ge=2, description="training images of the online kNN estimate (leave one out)")
    graph_every: int = Field(2, ge=0, description="epochs between two measurements of a minibatch's graph; 0: none")


class RunConfig(Settings):
    """All settings of a run."""

    data: SerializeAsAny[DataConfig | GraphDataConfig] = _DEFAULT
    encoder: SerializeAsAny[EncoderConfig] = _DEFAULT
    method: SerializeAsAny[MethodConfig] = _DEFAULT
    optim: OptimConfig = OptimConfig()
    trainer: TrainerConfig = TrainerConfig()
    eval: EvalConfig = EvalConfig()
    seed: int = Field(0, ge=0, lt=2**31)
    run_dir: Path | None = Field(None, description="None = runs/<data>-<method>-seed<seed>-<time>-<process>")

    @field_validator("data", "encoder", "method", mode="before")
    @classmethod
    def _section_of_its_name(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, Mapping):
            raise ValueError("expects a mapping with a name")
        assert info.field_name is not None
        return section_of(info.field_name, value).model_validate(dict(value))

    @model_validator(mode="after")
    def _parts_fit(self) -> RunConfig:
        holds, reads = DATASETS[self.data.name].holds, ENCODERS[self.encoder.name].reads
        if holds not in reads:
            fit = [name for name, encoder in ENCODERS.items() if holds in encoder.reads]
            raise ValueError(
                f"encoder.name={self.encoder.name} reads {' and '.join(reads)}, and data.name={self.data.name} holds "
                f"{holds}: use encoder.name={', '.join(fit[:-1])} or {fit[-1]}"
            )
        if holds == "images":
            self._encoder_fits_method()
        if (pool := getattr(self.encoder, "pool", None)) and holds != "graphs":
            raise ValueError(
                f"encoder.pool={pool} is for whole graphs (data.name=tu), and data.name={self.data.name} is contrasted "
                "node by node: drop it"
            )
        local = self.data.augment.local_views if isinstance(self.data.augment, AugmentConfig) else 0
        if local and self.method.num_views < local + 2:
            raise ValueError(
                f"data.augment.local_views={local} of method.num_views={self.method.num_views} views leave fewer than "
                f"two others: set method.num_views={local + 2} or more"
            )
        if self.eval.root is not None and holds != "images":
            raise ValueError(
                f"eval.root={self.eval.root} holds images, and data.name={self.data.name} {holds}: drop it"
            )
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
        """Those of :meth:`stored` that can change a number: without ``run_dir``, ``data.root``, ``data.cache`` and
        ``trainer.checkpoint_every``."""
        tree = self.stored()
        for section, keys in ((tree, ("run_dir",)), (tree["data"], ("root", "cache"))):
            for key in keys:
                section.pop(key, None)
        del tree["trainer"]["checkpoint_every"]
        return tree

    @property
    def digest(self) -> str:
        """Ten hex digits of the experiment; of ``eval.root``, whether it is set."""
        tree = self.experiment()
        root = tree["eval"].pop("root")
        if root is not None:
            tree["eval"]["root"] = True
        # These are there since version 0.3: off, they leave the digest as it was.
        off: dict[str, Any] = {"weights": None, "freeze": 0, "layer_decay": 1.0, "drop_path": None, "split": 0}
        off |= {"checkpointing": False, "generator": None}
        for section in ("encoder", "data"):
            tree[section] = {key: value for key, value in tree[section].items() if (key, value) not in off.items()}
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
