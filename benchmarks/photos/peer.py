"""Steps of SimCLR by LightlyTrain, timed: runs with the Python of an environment that has ``lightly-train``, not ours.

``PYTHON peer.py FOLDER OUT MODEL SIDE BATCH SKIPPED TIMED WORKERS``; the last line of its output is JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any


def main(folder: str, out: str, model: str, numbers: list[int], workers: str) -> dict[str, Any]:
    """Train with the defaults of LightlyTrain; returns seconds of a step, versions, and what it chose."""
    os.environ["LIGHTLY_TRAIN_EVENTS_DISABLED"] = "1"
    import lightly_train
    import torch
    from lightly_train._callbacks import callback_helpers
    from pytorch_lightning import Callback

    side, batch, skipped, timed = numbers
    marks: list[float] = []
    chosen: dict[str, Any] = {}

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            marks.append(time.perf_counter())
            loader = trainer.train_dataloader
            chosen.update(precision=trainer.precision, workers=loader.num_workers, threads=torch.get_num_threads())

    build = callback_helpers.get_callbacks
    callback_helpers.get_callbacks = lambda **given: [*build(**given), Watch()]
    lightly_train.pretrain(
        out=out,
        data=folder,
        model=model,
        method="simclr",
        epochs=1,
        batch_size=batch,
        num_workers="auto" if workers == "auto" else int(workers),
        accelerator="cpu",
        transform_args={"image_size": (side, side)},
        trainer_args={"max_steps": skipped + timed},
        callbacks={"model_checkpoint": None, "model_export": None},
        overwrite=True,
    )
    packages = ("lightly-train", "torch", "torchvision", "albumentations")
    seconds = [after - before for before, after in zip(marks[skipped - 1 :], marks[skipped:], strict=False)]
    return {"seconds": seconds, **chosen, "versions": {name: version(name) for name in packages}}


if __name__ == "__main__":
    folder, out, model, *numbers, workers = sys.argv[1:]
    result = main(folder, out, model, list(map(int, numbers)), workers)
    sys.stdout.write(f"\n{json.dumps(result)}\n")
