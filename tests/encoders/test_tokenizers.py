"""Tokens of the features of another run, which a checkpoint holds with the encoder."""

import shutil

import pytest
import torch

from cl_as_gnn.config import load_config
from cl_as_gnn.encoders.tokenizers import cluster_centers
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.tasks import load_task
from cl_as_gnn.training.fit import train
from cl_as_gnn.training.module import ContrastiveModule


@pytest.fixture(scope="module")
def source_run(tmp_path_factory, configure):
    run = tmp_path_factory.mktemp("source") / "seed0"
    train(configure(run, "method.name=simclr", "trainer.epochs=1"))
    return run


def test_tokens_are_clusters_of_the_features_of_a_run_which_may_be_gone_later(tmp_path, source_run):
    run = shutil.copytree(source_run, tmp_path / "seed0")
    words = ["method.name=clustermim", "method.tokenizer=features", "method.num_tokens=6", "encoder.width=8"]
    config = load_config(None, [*words, f"method.run={tmp_path}/seed{{seed}}"])
    task = load_task(config, progress=False)
    whole, copy = ContrastiveModule(config, task), ContrastiveModule(config, task)
    assert "features, K = 6, TCAS 0." in whole.method.prepare(task.preview)[0]
    trained = load_encoder(open_run(run))
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    shutil.rmtree(run)
    copy.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    pixels = task.preview().inputs[:9]
    with torch.no_grad():
        maps = trained.maps(pixels).flatten(2).transpose(1, 2)  # 4 × 4, the grid of the patches
        expected = torch.cdist(maps, whole.method.tokenizer.centers).argmin(2)
    for module in (whole.train(), copy.train()):
        assert torch.equal(module.method.tokenizer(pixels, None, pixels), expected)
    assert not any("source" in name for name, _ in copy.method.named_parameters()), "nothing of it is trained"


def test_pixels_that_were_normalized_in_another_way_are_brought_back(source_run):
    config = load_config(None, ["method.name=clustermim", "method.tokenizer=features", f"method.run={source_run}"])
    method = ContrastiveModule(config, load_task(config, progress=False)).method
    source, x = method.tokenizer.source, torch.rand(3, 1, 8, 8)
    found = []
    for stats in (((0.2,), (0.5,)), ((0.4,), (0.1,))):
        (mean,), (std,) = stats
        source.read(source_run, stats, x.shape[1:])
        found.append(source((x - mean) / std))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="reads images of 1 channels and 8 px, and these have 3 and 32"):
        source.read(source_run, stats, (3, 32, 32))


def test_clusters_are_found_alike_with_one_seed():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)) + 8 * (torch.arange(300) % 3).view(-1, 1)
    centers = cluster_centers(x, 3, seed=1)
    assert torch.equal(centers, cluster_centers(x, 3, seed=1))
    torch.testing.assert_close(centers.mean(1).sort().values, torch.tensor([0.0, 8, 16]), atol=0.3, rtol=0)
