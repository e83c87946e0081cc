"""Float32 products stay float32 where the user allows less."""

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import knn
from cl_as_gnn.nn import functional
from cl_as_gnn.nn.exact import exact_products
from cl_as_gnn.nn.streaming import (
    pairwise_attention,
    softmax_all_pairs,
    softmax_bipartite,
    softmax_local_rows,
    softmax_over_keys,
)

CPU = torch.device("cpu")
EDGES = torch.stack([torch.arange(20), (torch.arange(20) + 10) % 20])
CALLS = {
    "nt_xent": lambda x: functional.nt_xent(x, EDGES),
    "all pairs": lambda x: softmax_all_pairs(x),
    "two sets": lambda x: softmax_bipartite(x, x),
    "fixed keys": lambda x: softmax_over_keys(x, x),
    "own rows": lambda x: softmax_local_rows(x, torch.arange(20), lambda part: part),
    "attention": lambda x: pairwise_attention(x, x, x),
    "attention, backward": lambda x: pairwise_attention(x.requires_grad_(), x, x).sum().backward(),
    "kNN": lambda x: knn.search(x, x, 3, "torch"),
}


@pytest.fixture
def low_precision():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


class Products(torch.utils._python_dispatch.TorchDispatchMode):
    """Precisions under which products, and custom operators that hold some, ran."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "cl_as_gnn" or func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            self.seen.append(torch.backends.mkldnn.matmul.fp32_precision)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CALLS)
def test_products_are_exact_and_the_setting_stays(low_precision, name):
    with Products() as products:
        CALLS[name](F.normalize(torch.randn(20, 4), dim=1))
    assert set(products.seen) == {"ieee"}
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"


def test_each_device_has_its_setting(low_precision):
    with exact_products(torch.device("cuda")):
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
