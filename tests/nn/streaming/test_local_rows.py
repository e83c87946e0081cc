"""One rank's rows of the complete graph are those of the whole of it."""

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.nn.streaming import softmax_all_pairs, softmax_local_rows


@pytest.mark.parametrize("temperature", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("n", [2, 31, 1200])
def test_own_rows_are_rows_of_the_whole(temperature, unit, n):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 5, dtype=torch.double, generator=generator)
    x = F.normalize(x, dim=1) if unit else x
    weight = torch.rand(n, dtype=torch.double, generator=generator)
    lse, expected = softmax_all_pairs(x, temperature, weight, unit=unit)
    for own in (torch.arange(n), torch.arange(n)[n // 3 :: 2]):

        def join(part, own=own):
            torch.testing.assert_close(part, lse[own], atol=1e-10, rtol=1e-10)
            return lse

        whole, message = softmax_local_rows(x, own, join, temperature, weight, unit=unit)
        assert whole is lse
        torch.testing.assert_close(message, expected[own], atol=1e-10, rtol=1e-10)


def test_a_node_alone_sends_and_gets_nothing():
    x = torch.ones(1, 3)
    for temperature in (0.01, 1.0):
        lse, message = softmax_local_rows(x, torch.arange(1), lambda part: part, temperature, unit=True)
        assert lse.tolist() == [-torch.inf]
        assert message.tolist() == [[0, 0, 0]]
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        softmax_local_rows(x, torch.arange(1), lambda part: part, 0)
