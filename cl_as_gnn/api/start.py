"""From a call in Python to a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import nn

from cl_as_gnn.api.inputs import data_of, encoder_of, nested, section_of
from cl_as_gnn.api.run import Run, held_for
from cl_as_gnn.config import GraphDataConfig, RunConfig, build_config, flatten, merge
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import DATASETS
from cl_as_gnn.runs.folder import open_run, prepare_run
from cl_as_gnn.training.fit import Watchers, continue_run
from cl_as_gnn.training.fit import train as fit


def train(
    data: Any = None,
    method: Any = None,
    encoder: Any = None,
    *,
    epochs: int | None = None,
    settings: Any = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    resume: Path | str | None = None,
    progress: bool = True,
    **sections: Any,
) -> Run:
    """Train an encoder and score it, as ``clgnn train`` does.

    Args:
        data: a name as in ``data.name``; a folder of images; tensors or arrays ``(N, C, H, W)``, uint8 or floats from 0
            to 1, alone or in a pair with labels; a map-style ``Dataset`` of pictures, or of pictures with labels,
            without random transforms; a dict of these with ``train`` and perhaps ``validation``, ``test``,
            ``unlabeled``; a PyG ``Data``, whose nodes are the samples, or a list of them, which are samples themselves;
            or a dict of ``data.*``. The default is the digits.
        method: a name, a dict of ``method.*`` or the ``Config`` of a method.
        encoder: a name, a dict of ``encoder.*``, or a module: images ``(n, C, S, S)``, or ``x, edge_index`` of a graph,
            to features. It is copied; training starts from its weights.
        epochs: ``trainer.epochs``.
        settings: further settings, nested or with dots, as in ``{"optim.lr": 1e-3}``, or a YAML file.
        callbacks: Lightning callbacks, besides those of ``trainer.callbacks``.
        loggers: Lightning loggers, besides those of ``trainer.logger``.
        resume: the folder of a stopped run to continue; pass the same data, module and callbacks again.
        progress: show a bar, or lines where the output is no terminal and no notebook.
        **sections: settings by their first name, as in ``seed=1, run_dir="runs/mine", trainer={"batch_size": 128}``.

    Raises:
        ConfigError: a setting or the data are wrong; nothing has been trained.
        RunError: the run failed; the last checkpoint is kept.
    """
    console, watchers = _console(progress), Watchers(callbacks, loggers)
    _check_sections(sections)
    given = merge(nested(settings), nested(sections))
    if epochs is not None:
        given = merge(given, {"trainer": {"epochs": epochs}})
    source = data_of(data, progress)
    if resume is None:
        name = source.settings.get("name", given.get("data", {}).get("name"))
        graphs = name in DATASETS and DATASETS[str(name)].holds != "images"
    else:
        stored = open_run(Path(resume)).load_config()
        graphs = isinstance(stored.data, GraphDataConfig)
    network = encoder_of(encoder, graphs)
    named = {"data": source.settings, "method": section_of(method), "encoder": network.settings}
    given = merge(given, {key: value for key, value in named.items() if value})
    if resume is None:
        config = prepare_run(build_config(given))
        path, held = config.run_dir, [part.held for part in (source, network) if part.held is not None]
        assert path is not None
        _check_ranks(config)
        _end_other_ranks(fit(config, None, console, watchers))
    else:
        path, held = Path(resume), held_for(stored, source, network)
        _end_other_ranks(continue_run(path, given, console, watchers)[1])
    run = Run(path)
    run._held = held
    return run


def load(path: Path | str, data: Any = None, encoder: nn.Module | None = None) -> Run:
    """Open a run folder: see :class:`Run`."""
    return Run(path, data, encoder)


def _check_sections(sections: dict[str, Any]) -> None:
    for key, value in sections.items():
        if key in RunConfig.model_fields:
            continue
        homes = [full for full in flatten(RunConfig().model_dump()) if full.rpartition(".")[2] == key]
        if homes:
            cure = f"write settings={{{homes[0]!r}: {value!r}}}"
            raise ConfigError(f"unknown setting {key}={value!r}: {cure}")


def _check_ranks(config: RunConfig) -> None:
    """Raise ConfigError if several processes cannot be started from here."""
    if config.trainer.ranks > 1 and (hasattr(sys, "ps1") or "ipykernel" in sys.modules):
        raise ConfigError(
            f"trainer.devices={config.trainer.devices}, trainer.num_nodes={config.trainer.num_nodes}: each process "
            "runs the script again, and a notebook or a prompt is none: write a script, or use clgnn train"
        )


def _end_other_ranks(metrics: dict[str, Any]) -> None:
    """The first process alone goes on behind the call: the others have no numbers."""
    if not metrics:
        raise SystemExit(0)


class _Notebook(Console):
    """Shows bars as widgets. A notebook has no cursor to hide."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


def _console(progress: bool) -> Console:
    """Where progress is shown: a bar in a terminal, and in a notebook that has ipywidgets; else lines."""
    if not progress:
        return Console(quiet=True)
    if not Console().is_jupyter:
        return Console(highlight=False, markup=False)
    if find_spec("ipywidgets") is None:
        # ipykernel's output says that it is a terminal.
        return Console(force_jupyter=False, force_terminal=False, highlight=False, markup=False)
    return _Notebook(force_terminal=True, highlight=False, markup=False)
