"""Edges from the k nearest neighbours: the toolkit's, faiss alone, and a matrix product with top-k."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common.timing import Contender, Row, Settings, Work, gemm, seconds
from cl_as_gnn.graph import knn_edges


def rows(settings: Settings, n: int | None = None, dim: int = 128, k: int = 10) -> Iterator[Row]:
    """Searches, each for ``(n, k)`` neighbours (faiss with the node itself among k + 1), and torch after one."""
    n = n or (1024 if settings.quick else 8192)
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(0)).to(settings.device)

    def ours() -> Tensor:
        return knn_edges(x, k)[0][0].view(n, k)

    def dense() -> Tensor:
        unit = F.normalize(x, dim=1)
        return (unit @ unit.t()).fill_diagonal_(-torch.inf).topk(k, dim=1).indices

    calls: dict[str, Callable[[], Tensor]] = {"knn_edges": ours}
    notes = ["recall: share of float64's neighbours found; floor: 2 n² d flops in fp32"]
    if (faiss := _faiss(x, k)) is not None:
        calls["faiss alone"] = faiss
    else:
        notes.append("faiss does not serve this device: it is left out, and knn_edges chose torch")
    calls["matmul + topk"] = dense
    exact = _exact(x, k)
    work = Work(flops=2 * n**2 * dim)
    contenders = [Contender(name, call, work, extra={"recall": _recall(call(), exact)}) for name, call in calls.items()]
    yield Row("knn", f"{n}, k={k}", contenders, {"n": n, "d": dim, "k": k}, notes)

    yield _after(settings, lambda: knn_edges(x, k))


def _after(settings: Settings, search: Callable[[], object]) -> Row:
    """The threads of faiss and of torch are two pools: whether the one still spins when the other starts."""
    product = gemm(torch.float32, settings)

    def timed(before: Callable[[], object]) -> float:
        before()
        return seconds(product, 1, settings.device)

    contenders = [
        Contender("product after a search", lambda: timed(search)),
        Contender("product after a product", lambda: timed(product)),
    ]
    notes = [
        "a product in fp32 right after a search through faiss, and after another product: the two pools of threads"
    ]
    return Row("knn", "thread pools", contenders, {"gemm": settings.gemm}, notes, self_timed=True)


def _faiss(x: Tensor, k: int) -> Callable[[], Tensor] | None:
    if find_spec("faiss") is None:
        return None
    import faiss

    inner = faiss.METRIC_INNER_PRODUCT
    if x.device.type == "cpu":

        def on_cpu() -> Tensor:
            unit = F.normalize(x, dim=1).numpy()
            return torch.from_numpy(faiss.knn(unit, unit, k + 1, metric=inner)[1])

        return on_cpu
    if x.device.type != "cuda" or faiss.get_num_gpus() == 0:
        return None
    import faiss.contrib.torch_utils

    resources = faiss.StandardGpuResources()
    resources.setDefaultNullStreamAllDevices()

    def on_gpu() -> Tensor:
        unit = F.normalize(x, dim=1)
        index: Tensor = faiss.knn_gpu(resources, unit, unit, k + 1, metric=inner, device=x.device.index or 0)[1]
        return index

    return on_gpu


def _exact(x: Tensor, k: int) -> Tensor:
    unit = F.normalize(x.double(), dim=1)
    strips = []
    for start, part in zip(range(0, len(x), 1024), unit.split(1024), strict=False):
        similarity = part @ unit.t()
        similarity[torch.arange(len(part)), torch.arange(start, start + len(part))] = -torch.inf
        strips.append(similarity.topk(k, dim=1).indices)
    return torch.cat(strips)


def _recall(found: Tensor, exact: Tensor) -> float:
    return float((found.unsqueeze(2) == exact.unsqueeze(1)).any(1).float().mean())
