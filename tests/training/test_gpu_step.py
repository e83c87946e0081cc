"""A training step on a GPU that is not there: it never waits for the device, and all its tensors lie there."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException

from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import ImageData, Split
from cl_as_gnn.methods import METHODS
from cl_as_gnn.training.module import ContrastiveModule

IMAGES = sorted(name for name, method in METHODS.items() if "images" in method.reads)


def build(name, gpu):
    config = load_config(None, [f"method.name={name}", "trainer.batch_size=16", "encoder.width=8"])
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(40) % 4)
    module = ContrastiveModule(config, ImageData("digits", tuple("abcd"), split, split, split)).train()
    module._device = gpu.device
    if name == "gcn_bank":  # what it finds between epochs, where it may wait
        method = module.method
        with gpu.mode:
            ends, weight = gpu.empty(2, 400, dtype=torch.long), gpu.empty(400)
            walk = torch.sparse_coo_tensor(ends, weight, (40, 40), is_coalesced=True, check_invariants=False)
        method.begin_epoch = lambda progress: setattr(method, "walk", walk)
    return gpu.move(module)


def step(module, gpu, progress):
    """The last epoch's, which measures the graph as well."""
    module._trainer = SimpleNamespace(
        world_size=1, global_rank=0, current_epoch=9, max_epochs=10, global_step=progress, estimated_stepping_batches=1
    )
    gpu.running(module.on_train_epoch_start)
    return gpu.running(module.training_step, gpu.empty(16, dtype=torch.long), 0)


@pytest.mark.parametrize("name", IMAGES)
def test_a_step_never_waits_for_the_gpu(fake_gpu, name):
    module = build(name, fake_gpu)
    for progress, precision in ((0.0, nullcontext()), (0.9, nullcontext()), (0.9, fake_gpu.mixed())):
        with precision:
            loss = step(module, fake_gpu, progress)
        assert loss.device == fake_gpu.device
        assert loss.dtype == torch.float32
        assert loss.requires_grad


def test_mixed_precision_is_that(fake_gpu):
    """So that the test above has run what it says."""
    module = build("simclr", fake_gpu)
    seen = []
    module.method.projector.register_forward_hook(lambda layer, inputs, out: seen.append(out.dtype))
    step(module, fake_gpu, 0.9)
    with fake_gpu.mixed():
        step(module, fake_gpu, 0.9)
    assert set(seen) == {torch.float32, torch.bfloat16}
    assert not torch.is_autocast_enabled("cuda")


def test_what_the_host_reads_or_sends_is_found(fake_gpu):
    module = build("simclr", fake_gpu)
    module.method.rewire = lambda data, views: data["view"].x.sum().item()
    with pytest.raises(DataDependentOutputException):
        step(module, fake_gpu, 0.0)
    module.method.rewire = lambda data, views: data["view"].x.new_tensor([1.0])
    with pytest.raises(AssertionError, match="on the host"):
        step(module, fake_gpu, 0.0)
