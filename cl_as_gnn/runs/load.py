"""Read what a run has learned (encoder, checkpoint, method), score it again, and export its features."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from cl_as_gnn.config import RunConfig
from cl_as_gnn.config.older import stored_names, stored_state
from cl_as_gnn.datasets import Split, read_images
from cl_as_gnn.datasets.view_generator import colored
from cl_as_gnn.encoders import ENCODERS, Encoder, Inputs, build_encoder
from cl_as_gnn.errors import AbsentError, ConfigError, RunError, quoted
from cl_as_gnn.evaluation.scores import has_accuracies
from cl_as_gnn.methods import Method, build_method
from cl_as_gnn.runs.folder import RunFolder, check_out, check_same, open_run, replaced, resumed_config
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import Task, load_task
from cl_as_gnn.tasks.embed import embed, kept_rows, rows

# What Lightning and this package restore.
_CHECKPOINT = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "epoch", "global_step", "cl_as_gnn"}
_OWN = {"config", "seconds", "loss"}


def read_header(run: RunFolder) -> dict[str, Any]:
    """Read the settings and the expected inputs of a finished run's encoder.

    Returns:
        ``encoder``, its settings, and ``channels``; for images also ``image_size``, and ``mean`` and ``std`` of each
        channel on the scale [0, 1], which normalize the images; for graphs ``pool``.

    Raises:
        ConfigError: the run has not finished.
        RunError: the file is broken or belongs to another run.
    """
    if not run.encoder.is_file():
        raise ConfigError(
            f"{run.path} has no trained encoder yet: finish it with clgnn train resume={quoted(run.path)}"
        )
    try:
        with safe_open(str(run.encoder), framework="pt") as file:
            meta: dict[str, Any] = json.loads((file.metadata() or {})["cl_as_gnn"])
            meta.get("encoder")
    except Exception as error:  # safetensors has its own type for a broken file
        raise RunError(
            f"{run.encoder} cannot be read ({type(error).__name__}): it is not an encoder of this package. If the "
            "run's checkpoint is intact, remove metrics.json and write both again with "
            f"clgnn train resume={quoted(run.path)}"
        ) from None
    # Files of versions before 0.3 name the method alone.
    settings = meta.get("config", {"method": {"name": meta["method"]}} if "method" in meta else {})
    config = run.load_config()
    check_same(run, run.encoder, settings, config)
    if "encoder" not in meta:  # of version 0.1: the settings of the encoder are in the config alone
        meta |= {
            "encoder": config.encoder.model_dump(mode="json"),
            "channels": meta.get("channels", meta.get("in_channels")),
        }
    return stored_names(meta)


def load_encoder(run: RunFolder) -> Encoder:
    """Load the trained encoder of a finished run, in eval mode on the CPU.

    Raises as :func:`read_header`, and RunError if the weights do not fit the encoder.
    """
    meta = read_header(run)
    try:
        config = ENCODERS[meta["encoder"]["name"]].Config.model_validate(meta["encoder"])
        encoder = build_encoder(config, Inputs(meta["channels"], meta.get("image_size"), meta.get("pool")))
        encoder.load_state_dict(load_file(run.encoder))
    except AbsentError:
        raise
    except (ConfigError, RuntimeError, KeyError, TypeError, ValueError, SafetensorError):
        raise RunError(
            f"{run.encoder} does not fit the encoder {run.load_config().encoder.name!r} of this version: use the "
            "version of cl_as_gnn that trained it (metrics.json names it), or train again"
        ) from None
    return encoder.eval()


def load_checkpoint(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    """Load the latest checkpoint of a run with these settings.

    Raises:
        ConfigError: there is none.
        RunError: it is broken, or of another run.
    """
    if not run.checkpoint.is_file():
        raise ConfigError(f"{run.path} has no checkpoint, it was stopped before the first: remove it and start again")
    try:
        state: dict[str, Any] = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
        if absent := _CHECKPOINT - state.keys() or _OWN - state["cl_as_gnn"].keys():
            raise KeyError(*absent)
        float(state["cl_as_gnn"]["seconds"])
        state["state_dict"].keys()
        stored_state(state["state_dict"], config.method.name)
    except Exception as error:
        raise RunError(
            f"{run.checkpoint} cannot be read ({type(error).__name__}): it is not a checkpoint of this package, start "
            "again"
        ) from None
    check_same(run, run.checkpoint, state["cl_as_gnn"]["config"], config)
    return state


def misfit(run: RunFolder, config: RunConfig) -> RunError:
    """The error of a checkpoint whose tensors have other names or shapes than those of the method."""
    return RunError(
        f"{run.checkpoint} does not fit the method {config.method.name!r} of this version, or its data set has "
        "changed: use the version of cl_as_gnn and the images that trained it, or train again"
    )


def load_method(config: RunConfig, task: Task, run: RunFolder | None = None) -> Method[Any]:
    """Build the method of a config in eval mode on the CPU, with the state of a run's last checkpoint if given.

    Raises:
        ConfigError: the run has no checkpoint yet.
        RunError: the checkpoint cannot be read or does not fit the method.
    """
    method = build_method(config.method, task.encoder(), config.encoder, task.size)
    if run is not None:
        state = load_checkpoint(run, config)["state_dict"]
        try:
            method.load_state_dict({k.removeprefix("method."): v for k, v in state.items() if k.startswith("method.")})
        except RuntimeError:
            raise misfit(run, config) from None
    return method.eval()


def evaluate_run(path: Path, console: Console, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Compute the scores of a run's encoder, and of its baselines, as in its ``metrics.json``, and write nothing.

    Raises:
        ConfigError: the run is unfinished, ``given`` holds other settings than ``eval.*``, or there are neither labels
            nor a checkpoint to score with.
    """
    run = open_run(path)
    if other := sorted(set(given or {}) - {"eval"}):
        raise ConfigError(f"clgnn evaluate takes eval.* only, not {other[0]}: drop it")
    config = resumed_config(run, given or {})
    device = pick_device(config.trainer)
    encoder = load_encoder(run).to(device)
    task = load_task(config, console.is_terminal)
    with console.status("evaluating"):
        metrics: dict[str, Any] = {"method": config.method.name, "dataset": task.name}
        features = task.features(encoder, device, scored=True)
        metrics |= task.score(features)
        if not has_accuracies(metrics):
            if not run.checkpoint.is_file():
                raise ConfigError(
                    f"{path} has no labels and no checkpoint: set eval.root to a folder of labeled images"
                )
            method, views = load_method(config, task, run).to(device), task.views().to(device)
            metrics |= task.geometry(method, views, features, device) | task.information(method, views, device)
        if config.eval.baselines:
            metrics["baselines"] = task.baselines(device)
    return metrics


def embed_folder(
    run: RunFolder, encoder: nn.Module, images: Path, device: torch.device, scratch: Path | None = None
) -> tuple[Split, Tensor]:
    """Features of all images under a folder, ``(n, out_dim)``, as the run would read them; broken ones are rows too.

    Args:
        run: whose encoder it is.
        encoder: on ``device``.
        images: the folder.
        device: where the encoder runs.
        scratch: where features are kept that do not fit into ``data.memory``; ``None``: with temporary files.

    Raises:
        ConfigError: the encoder reads graphs, or there are no images.
    """
    header = read_header(run)
    if "image_size" not in header:
        raise ConfigError(f"--images {images}: the encoder of {run.path} reads graphs: leave --images out")
    split = read_images(images, header["channels"], header["image_size"], header.get("picture_size"))
    return split, embed_split(run, encoder, split, device, scratch)


def embed_split(
    run: RunFolder, encoder: nn.Module, split: Split, device: torch.device, scratch: Path | None = None
) -> Tensor:
    """Features of images that are read as those of the run; the arguments are those of :func:`embed_folder`."""
    header, config = read_header(run), run.load_config()
    memory = getattr(config.data, "memory", math.inf)
    return embed(
        encoder,
        colored(split, header["image_size"], config.generator),
        (header["mean"], header["std"]),
        device,
        lambda dim: rows(len(split), dim, memory, scratch),
    )


def export_features(path: Path, out: Path, console: Console, images: Path | None = None) -> dict[str, tuple[int, ...]]:
    """Write features, labels, files and class names of a run, or those of other images, as ``.npz``; return the shapes.

    For a folder of other ``images``, the file holds their ``features`` and ``files``, their paths in the folder.

    Raises:
        ConfigError: ``out`` is no place for an ``.npz`` file, the run is unfinished, or ``images`` is given for graphs.
        RunError: the file cannot be written.
    """
    check_out(out, "features are", ".npz")
    run = open_run(path)
    config = run.load_config()
    device = pick_device(config.trainer)
    encoder = load_encoder(run).to(device)
    if images is None:
        task = load_task(config, console.is_terminal)
        arrays = {name: value.numpy() for name, value in task.features(encoder, device).items()}
        arrays |= {name: np.array(value) for name, value in task.names().items()}
    else:
        split, x = embed_folder(run, encoder, images, device, out.parent)
        at = split.readable()
        arrays = {"features": kept_rows(x, at).numpy(), "files": np.array([split.files[i] for i in at.tolist()])}
        for name, why in split.broken().items():
            console.print(f"left out {name}: {why}", soft_wrap=True, markup=False)
    try:
        with replaced(out) as draft, draft.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from None
    return {name: tuple(value.shape) for name, value in arrays.items()}
