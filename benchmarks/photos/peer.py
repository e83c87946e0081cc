"""Steps of SimCLR by LightlyTrain, timed: runs with the Python of an environment that has ``lightly-train``, not ours.

Usage: ``PYTHON peer.py FOLDER OUT SIDE BATCH SKIPPED TIMED WORKERS MODEL``; the last line of its output is JSON.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main(folder: str, out: str, side: int, batch: int, skipped: int, timed: int, workers: str, model: str) -> None:
    """Train ``skipped + timed`` steps and print seconds of a timed one, with the versions and settings used."""
    os.environ["LIGHTLY_TRAIN_EVENTS_DISABLED"] = "1"
    import lightly_train
    import torch
    from lightly_train._callbacks import callback_helpers
    from pytorch_lightning import Callback

    marks: list[float] = []

    class Watch(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            marks.append(time.perf_counter())

    build = callback_helpers.get_callbacks
    callback_helpers.get_callbacks = lambda **kwargs: [*build(**kwargs), Watch()]
    lightly_train.pretrain(
        out=out,
        data=folder,
        model=model,
        method="simclr",
        epochs=1,
        batch_size=batch,
        num_workers=workers if workers == "auto" else int(workers),
        accelerator="cpu",
        transform_args={"image_size": (side, side)},
        trainer_args={"max_steps": skipped + timed, "max_epochs": None},
        callbacks={"model_checkpoint": None, "model_export": None},  # which write after the last step,
        overwrite=True,
    )
    used = (Path(out) / "train.log").read_text(encoding="utf-8") if (Path(out) / "train.log").exists() else ""
    precision = next((line.split(":")[1].strip(' ,"') for line in used.splitlines() if '"precision"' in line), None)
    report = {
        "seconds": (marks[-1] - marks[skipped - 1]) / timed,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "versions": {name: version(name) for name in ("lightly-train", "torch", "torchvision", "albumentations")},
    }
    print(json.dumps(report), flush=True)  # noqa: T201


if __name__ == "__main__":
    first, second, *numbers, loading, name = sys.argv[1:]
    main(first, second, *map(int, numbers), loading, name)
