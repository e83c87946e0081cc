"""Every method on views of two sizes."""

import pytest
import torch

from cl_as_gnn.config import load_config
from cl_as_gnn.encoders import Inputs, build_encoder
from cl_as_gnn.methods import METHODS, Batch, build_method

SAMPLES = 4


# Methods that predict patches, or contrast channels, have one view.
ONE = {name for name, method in METHODS.items() if method.needs_patches or method.needs_split}
NAMES = [name for name, method in METHODS.items() if "images" in method.reads and name not in ONE]


@pytest.mark.parametrize("name", NAMES)
def test_views_of_each_size_are_encoded_as_alone_and_join_one_graph(name):
    words = [f"method.name={name}", "method.num_views=5", "encoder.width=8", "encoder.projector_dim=16"]
    config = load_config(None, [*words, "encoder.projector_hidden=16", "encoder.predictor_hidden=8"])
    torch.manual_seed(0)
    method = build_method(config.method, build_encoder(config.encoder, Inputs(3, 16)), config.encoder, 30)
    whole, local = torch.randn(2 * SAMPLES, 3, 16, 16), torch.randn(3 * SAMPLES, 3, 8, 8)
    sample, labels = torch.arange(SAMPLES), torch.tensor([0, 1, 0, 1])
    batch = Batch((whole, local), sample, 0.5, labels)
    loss, data = method(batch)
    loss.backward()
    assert loss.isfinite()
    assert len(data["view"].x) == 5 * SAMPLES
    if name == "simclr_contranorm":  # its projector mixes the views of a batch
        return
    method.eval()
    with torch.no_grad():
        together = method.encode(batch)
        alone = [
            method.encode(Batch(part, sample, 0.5, labels)) for part in whole.split(SAMPLES) + local.split(SAMPLES)
        ]
    for kind, features in together.items():
        torch.testing.assert_close(features, torch.cat([view[kind] for view in alone]), atol=1e-5, rtol=1e-4)
