"""Two losses agree in value and in gradient."""

import torch


def value_and_gradient(loss, *inputs):
    """The value of a loss, and its gradient in each input, in float64."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    value = loss(*inputs)
    return value.detach(), *torch.autograd.grad(value, inputs)


def assert_equal(ours, theirs, *inputs):
    for name, a, b in zip(
        ("value", "first gradient", "second gradient"),
        value_and_gradient(ours, *inputs),
        value_and_gradient(theirs, *inputs),
        strict=False,
    ):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
