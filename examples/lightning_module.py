"""A method in a LightningModule of your own, with your DataLoader and your Trainer.

python examples/lightning_module.py
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cl_as_gnn.config import AugmentConfig, load_config
from cl_as_gnn.datasets import BatchedViews
from cl_as_gnn.methods import Batch, build_method


class Contrastive(LightningModule):
    """Batches are ``(images, positions in the data set)``; the encoder is any module with ``out_dim``."""

    def __init__(self, encoder: nn.Module, views: nn.Module, num_samples: int, name: str = "gcn"):
        super().__init__()
        config = load_config(None, [f"method.name={name}"])
        self.method = build_method(config.method, encoder, config.encoder, num_samples)
        self.views = views

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        images, sample = batch
        progress = self.trainer.global_step / max(1, int(self.trainer.estimated_stepping_batches))
        loss: torch.Tensor
        loss, _ = self.method(Batch(self.views(images, self.method.config.num_views), sample, progress))
        self.log("loss", loss, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    images = torch.tensor(load_digits().data * 255 / 16).to(torch.uint8).view(-1, 1, 8, 8)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    encoder.out_dim = 64  # type: ignore[assignment]
    views = BatchedViews(AugmentConfig(crop_scale=(0.7, 1), rotate=25, flip=0, grayscale=0), 8, 1, (0.3,), (0.4,))
    data = TensorDataset(images, torch.arange(len(images)))
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=args.epochs, accelerator="cpu", enable_model_summary=False, **quiet)
    trainer.fit(Contrastive(encoder, views, len(images)), DataLoader(data, 256, shuffle=True, drop_last=True))
    print(f"loss {trainer.callback_metrics['loss_epoch']:.3f} after {args.epochs} epochs")  # noqa: T201
