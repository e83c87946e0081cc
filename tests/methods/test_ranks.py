"""Two real processes that share a batch give the gradients, banks and statistics of one process that has all of it.

Run as a script, this file is one of the two processes.
"""

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from forked import Forked
from torch.nn.parallel import DistributedDataParallel

from cl_as_gnn.config import EncoderConfig, build_config
from cl_as_gnn.encoders import ENCODERS, Inputs, build_encoder
from cl_as_gnn.encoders.small import SmallConfig
from cl_as_gnn.graph import FeatureQueue, SampleBank
from cl_as_gnn.methods import METHODS, Batch, build_method
from cl_as_gnn.nn.distributed import own_rank, world_size

RANKS, SAMPLES, SIZE, STEPS = 2, 24, 16, 2
VIT = {"look": {"tokens": 8, "causal": True}}
HEADS = EncoderConfig(projector_hidden=16, projector_dim=6, predictor_hidden=8)
# Every method as it comes, and the settings that take another way through the code.
CASES = [
    *((name, {}) for name in sorted(METHODS) if "images" in METHODS[name].reads),
    ("simclr", {"num_views": 3}),
    ("gat", {"num_views": 2, "normalize": "batch"}),
    ("gcn", {"gate": 0}),
    ("barlow", {"num_views": 3}),
    ("siglip", {"num_views": 3}),
    *(("clustermim", {"tokenizer": kind, "num_tokens": 3}) for kind in ("class", "random")),
    ("clustermim", {"objective": "mae"}),
    ("look", {"objective": "ar_diverse"}),
    ("look", {"objective": "masked_varied", "causal": False}),
    ("msn", {"encoder": "vit", "sinkhorn": 2}),
    *((name, {"shared": True}) for name in ("nn_positives", "nnclr", "jk", "jk_gcn", "moco", "ressl", "gcn_bank")),
    ("nnclr", {"shared": True, "queue_size": 17}),  # ranks hold parts of two sizes
    ("meanshift", {"shared": True, "queue_size": 5, "k": 5}),  # more neighbors than a rank has rows
    ("moco", {"shared": True, "queue_size": 1}),  # the second rank holds none
    ("ressl", {"shared": True, "queue_size": 17}),
    ("simclr", {"encoder": "timm/test_efficientnet"}),  # batch normalization of timm
]


def label(case):
    return " ".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


def batch(step, views, channels):
    """The global batch of a step: half of the samples of one step come again in the next."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(views, SIZE, channels, 8, 8, generator=generator, dtype=torch.double)
    sample = (torch.randperm(SIZE, generator=generator) + step * SIZE // 2) % SAMPLES
    return images, sample


def build(case):
    """The method of a case, and the channels of its images."""
    name, settings = case
    torch.manual_seed(0)
    own = settings.get("encoder")
    config = build_config(
        {"method": {"name": name, **{k: v for k, v in settings.items() if k not in ("encoder", "causal")}}}
    ).method
    encoder = SmallConfig(width=8) if own is None else ENCODERS[own].Config(name=own)
    if METHODS[name].needs_patches:
        encoder = ENCODERS["vit"].Config(
            width=8, **(VIT.get(name, {}) | {k: v for k, v in settings.items() if k == "causal"})
        )
    channels = 1
    if METHODS[name].needs_split:
        encoder, channels = SmallConfig(width=8, split=1), 3
    method = build_method(config, build_encoder(encoder, Inputs(channels, 8)), HEADS, SAMPLES).double()
    for module in method.modules():
        if isinstance(module, FeatureQueue | SampleBank):
            module.float()  # features are kept and compared in float32
    return method, channels


def steps(case, built=None):
    """Losses, gradients and, at the end, the whole state of a few steps on this rank's part of each batch."""
    method, channels = built or build(case)
    config = method.config
    model = DistributedDataParallel(method, broadcast_buffers=False) if world_size() > 1 else method
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05)
    out = {"loss": [], "grads": []}
    for step in range(STEPS):
        images, sample = batch(step, config.num_views, channels)
        images = images.chunk(world_size(), dim=1)[own_rank()].flatten(0, 1)
        sample = sample.chunk(world_size())[own_rank()]
        torch.manual_seed(step)
        method.begin_epoch(0.9)
        loss, _ = model(Batch(images, sample, 0.9, sample % 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        out["loss"].append(loss.detach())
        out["grads"].append({key: p.grad.clone() for key, p in method.named_parameters()})
    out["state"] = {key: value.clone() for key, value in method.state_dict().items()}
    return out


def work(rank, folder):
    torch.set_num_threads(1)
    built = {label(case): build(case) for case in CASES}  # as in training, before the ranks meet
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    torch.save({label(case): steps(case, built[label(case)]) for case in CASES}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each rank computed, for every case: the processes are started once."""
    folder = tmp_path_factory.mktemp("ranks")
    started = [Forked(folder, rank, folder, script=__file__) for rank in range(RANKS)]
    try:
        assert [process.wait(400) for process in started] == [0] * RANKS
    finally:
        for process in started:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.parametrize("case", CASES, ids=label)
def test_two_ranks_are_one_process_on_the_global_batch(ranks, case):
    alone, shared = steps(case), [rank[label(case)] for rank in ranks]
    for one, two in zip(alone["loss"], shared[0]["loss"], strict=True):
        torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-7)
    for one, two in zip(alone["grads"], shared[0]["grads"], strict=True):
        norm = torch.stack([grad.norm() for grad in one.values()]).norm()
        assert norm > 1e-3
        for key, grad in one.items():
            assert (two[key] - grad).norm() <= 1e-6 * norm, key
    for key, value in alone["state"].items():
        torch.testing.assert_close(
            shared[0]["state"][key], value, rtol=1e-6, atol=1e-6, msg=lambda m, k=key: f"{k} {m}"
        )
        # The banks of the ranks are replicas to the last bit, or their graphs would drift apart.
        assert torch.equal(shared[0]["state"][key], shared[1]["state"][key]), key


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
