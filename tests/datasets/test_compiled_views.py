"""Views under a compiler: one graph with the same values, in few launches."""

import re

import pytest
import torch
from torch._inductor.utils import run_and_get_code

from cl_as_gnn.datasets import DATASETS, BatchedViews

IMAGES = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def views() -> BatchedViews:
    return BatchedViews(DATASETS["stl10"].augment, 32, 3, (0.0,) * 3, (1.0,) * 3)


def test_compiled_views_are_one_graph_with_the_same_values() -> None:
    module = views()
    assert module.blurs
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=False)
    for aspect in (None, torch.linspace(0.5, 2, 6)):
        torch.manual_seed(0)
        expected = module(IMAGES, 2, aspect=aspect)
        torch.manual_seed(0)
        torch.testing.assert_close(compiled(IMAGES, 2, aspect=aspect), expected, atol=1e-5, rtol=0)


@pytest.mark.slow  # the test above has the values
def test_compiled_views_take_at_most_20_launches() -> None:
    torch._dynamo.reset()
    module = torch.compile(views(), fullgraph=True, dynamic=False)
    _, code = run_and_get_code(module, IMAGES, 2)
    launches = re.findall(r"(?:cpp_fused|extern_kernels\.|aten\.)\w*[.\w]*\(", code[0].split("def call(")[1])
    assert 10 <= len(launches) <= 20
