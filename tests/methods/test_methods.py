"""What holds for every method: it trains, keeps its state and describes itself."""

from copy import deepcopy

import pytest
import torch
from laws import IMAGES, SIZE, batch, make

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import METHODS, Batch


@pytest.mark.parametrize("name", IMAGES)
def test_every_method_trains_and_keeps_its_state(name):
    """The gradient reaches every parameter, a step lowers the loss, and a reloaded copy goes on alike."""
    method, copy = make(name), make(name)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05)
    for step in range(3):
        optimizer.zero_grad()
        loss, _ = method(batch(method, seed=step))
        loss.backward()
        assert loss.isfinite()
        optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert sum(float(p.grad.abs().sum()) for p in method.parameters()) > 0
    copy.load_state_dict(method.state_dict())
    again = batch(method, seed=9)
    losses = []
    for one in (method, copy):
        torch.manual_seed(0)
        losses.append(one(again)[0].item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", IMAGES)
def test_sample_order_does_not_matter(name):
    method = make(name).eval()
    views = batch(method)
    order = torch.randperm(SIZE)
    shape = (method.config.num_views, SIZE, *views.inputs.shape[1:])
    moved = Batch(views.inputs.view(shape)[:, order].flatten(0, 1), views.sample[order], 0.9, views.labels[order])
    state = deepcopy(method.state_dict())
    loss, _ = method(views)
    method.load_state_dict(state)
    torch.testing.assert_close(method(moved)[0], loss, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_says_how_it_reads_as_a_graph(name):
    method = METHODS[name]
    assert method.Config.model_fields["name"].default == name
    for text in (method.attracts, method.repels, method.source, method.__doc__):
        assert text
        assert text.strip()


def test_unknown_method_names_the_nearest():
    with pytest.raises(ConfigError, match=r"method.name=simcrl.*did you mean 'simclr'"):
        make("simcrl")
