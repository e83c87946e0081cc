from types import SimpleNamespace

import torch

from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import load_images
from cl_as_gnn.training.module import ContrastiveModule, epoch_seed


def test_epoch_seeds_differ_by_seed_epoch_and_rank():
    seeds = {epoch_seed(s, e, r) for s in range(5) for e in range(50) for r in range(3)}
    assert len(seeds) == 5 * 50 * 3
    assert epoch_seed(3, 4, 1) == epoch_seed(3, 4, 1)


def test_ranks_share_the_batches_and_the_edges_but_not_the_views():
    def epoch(ranks, rank, done=0):
        config = load_config(None, [f"trainer.devices={ranks}", "trainer.batch_size=64", "encoder.width=8"])
        module = ContrastiveModule(config, load_images(config.data))
        module._trainer = SimpleNamespace(
            current_epoch=3,
            world_size=ranks,
            global_rank=rank,
            global_step=0,
            estimated_stepping_batches=1,
            fit_loop=SimpleNamespace(batch_idx=done - 1),
        )
        batches = list(module.train_dataloader())
        module.on_train_epoch_start()
        views = module.augment(module.inputs[:2], 1, *module._draws)
        return torch.stack(batches), views, torch.rand(3)

    whole, *_ = epoch(1, 0)
    first, second = epoch(2, 0), epoch(2, 1)
    assert torch.equal(torch.cat([first[0], second[0]], dim=1), whole)
    assert not torch.equal(first[1], second[1])
    assert torch.equal(first[2], second[2])
    rest, *_ = epoch(2, 1, done=5)
    assert torch.equal(rest[0], second[0][5])
    assert len(rest) == len(second[0]) - 5
