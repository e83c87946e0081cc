"""65,536 rows, with copies among them: some rows of the result against the formula in float64."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.nn.streaming import softmax_all_pairs

N, ROWS = 65_536, 64


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("temperature", "bf16", "tolerance"), [(0.5, False, 1e-5), (0.01, False, 1e-4), (0.5, True, 5e-3)]
)
def test_65536_rows_are_within_the_stated_error(temperature, bf16, tolerance):
    torch.manual_seed(0)
    x = torch.randn(N, 32)
    x[1::1000] = x[::1000][: len(x[1::1000])]
    x[2] = 0
    x = F.normalize(x, dim=1)
    with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
        lse, message = softmax_all_pairs(x, temperature, unit=True)
    assert lse.isfinite().all()
    assert message.isfinite().all()
    wide, some = x.double(), torch.arange(ROWS)
    logits = wide[some] @ wide.t() / temperature
    logits[some, some] = -torch.inf
    expected_lse = logits.logsumexp(1)
    assert ((lse[some] - expected_lse).abs() / (1 + 1 / temperature)).max() < tolerance
    expected = ((logits - expected_lse[:, None]).exp() + (logits - lse.double()).exp()) @ wide
    assert (message[some].double() - expected).norm() / expected.norm() < tolerance
