import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import knn_accuracy, knn_predict, leave_one_out_knn


def clusters(n: int, seed: int, classes: int = 4, d: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=g)
    centers = torch.randn(classes, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return centers[labels] + torch.randn(n, d, generator=g, dtype=torch.float64), labels


def literal(
    bank: Tensor, labels: Tensor, query: Tensor, k: int, temperature: float, own: list[int] | None = None
) -> list[int]:
    """The vote of Wu et al., one query and one neighbor at a time."""
    predictions = []
    for i, q in enumerate(query):
        similarity = [
            (float(q @ b / (q.norm() * b.norm())), j) for j, b in enumerate(bank) if own is None or j != own[i]
        ]
        votes: dict[int, float] = {}
        for s, j in sorted(similarity, reverse=True)[:k]:
            votes[int(labels[j])] = votes.get(int(labels[j]), 0.0) + math.exp(s / temperature)
        predictions.append(max(votes, key=lambda c: votes[c]))
    return predictions


def per_cent(predictions: list[int], truth: Tensor) -> float:
    return 100 * sum(p == t for p, t in zip(predictions, truth.tolist(), strict=True)) / len(truth)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (15, 0.5), (60, 0.2)])
def test_knn_matches_the_literal_vote(k: int, temperature: float) -> None:
    bank, labels = clusters(60, seed=0)
    query, truth = clusters(37, seed=1)
    expected = per_cent(literal(bank, labels, query, k, temperature), truth)
    assert 20 < expected < 100
    assert knn_accuracy(bank, labels, query, truth, k, temperature) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_predictions_on_a_large_bank_are_those_of_a_full_sort(dtype: torch.dtype) -> None:
    bank, labels = clusters(1500, seed=0)
    query, _ = clusters(70, seed=1)
    cosine = torch.nn.functional.normalize(query) @ torch.nn.functional.normalize(bank).t()
    near, index = (part[:, :20] for part in cosine.sort(dim=1, descending=True))
    weight = (near / 0.07).exp().unsqueeze(2) * torch.nn.functional.one_hot(labels[index])
    expected = weight.sum(1).argmax(1).tolist()
    found = knn_predict(bank.to(dtype), labels, query.to(dtype), chunk=32).flatten().tolist()
    assert found == expected
    assert set(knn_predict(bank, torch.full_like(labels, 3), query).flatten().tolist()) == {3}


@pytest.mark.parametrize("k", [1, 5, 20])
def test_leave_one_out_matches_the_literal_vote(k: int) -> None:
    x, labels = clusters(50, seed=2)
    expected = per_cent(literal(x, labels, x, k, 0.07, own=list(range(50))), labels)
    assert expected < 100
    assert leave_one_out_knn(x, labels, k) == pytest.approx(expected)


def test_near_neighbor_outvotes_two_far_ones_only_at_low_temperature() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]])
    query, truth = torch.tensor([[5.0, 0.0]]), torch.tensor([7])
    labels = torch.tensor([7, 3, 3])
    assert knn_accuracy(bank, labels, query, truth, k=3, temperature=0.1) == 100
    assert knn_accuracy(bank, labels, query, truth, k=3, temperature=10.0) == 0


def test_tiny_temperature_does_not_overflow() -> None:
    bank, labels = clusters(40, seed=0)
    query, truth = clusters(20, seed=1)
    nearest = knn_accuracy(bank, labels, query, truth, k=1)
    assert knn_accuracy(bank.float(), labels, query.float(), truth, k=10, temperature=1e-5) == nearest


@settings(max_examples=25, deadline=None)
@given(chunk=st.integers(1, 50), seed=st.integers(0, 1000))
def test_chunk_and_order_do_not_matter(chunk: int, seed: int) -> None:
    bank, labels = clusters(45, seed=3)
    query, truth = clusters(40, seed=4)
    g = torch.Generator().manual_seed(seed)
    b, q = torch.randperm(45, generator=g), torch.randperm(40, generator=g)
    assert knn_accuracy(bank[b], labels[b], query[q], truth[q], 7, chunk=chunk) == knn_accuracy(
        bank, labels, query, truth, 7
    )
    assert leave_one_out_knn(bank[b], labels[b], 7, chunk=chunk) == leave_one_out_knn(bank, labels, 7)


def test_scale_of_rows_and_names_of_classes_do_not_matter() -> None:
    bank, labels = clusters(45, seed=3)
    query, truth = clusters(40, seed=4)
    rescaled = bank * torch.linspace(0.01, 100, 45, dtype=torch.float64)[:, None]
    renamed = torch.tensor([-5, 1000, 12, 3])
    expected = knn_accuracy(bank, labels, query, truth, 7)
    assert knn_accuracy(rescaled, renamed[labels], query, renamed[truth], 7) == expected


def test_class_outside_the_bank_is_an_error_of_the_query() -> None:
    bank, labels = clusters(45, seed=3)
    assert knn_accuracy(bank, labels, bank, torch.full((45,), 9), k=1) == 0
    assert knn_accuracy(bank, labels, bank, labels, k=1) == 100


def test_errors_are_one_line_and_name_the_cure() -> None:
    x, y = clusters(10, seed=0)
    with pytest.raises(
        ConfigError, match=r"^knn_accuracy expects k as a whole number from 1 to 10, got 11: there are only 10 rows"
    ):
        knn_accuracy(x, y, x, y, k=11)
    with pytest.raises(ConfigError, match=r"^leave_one_out_knn expects k as .* from 1 to 9, got 10"):
        leave_one_out_knn(x, y, k=10)
    for setting in ({"k": 0}, {"temperature": 0.0}, {"chunk": 0}):
        with pytest.raises(ConfigError, match=r"a (whole|positive) number"):
            knn_accuracy(x, y, x, y, **({"k": 3} | setting))  # type: ignore[arg-type]
    broken = x.clone()
    broken[2, 1] = torch.nan
    with pytest.raises(
        ValueError, match=r"^knn_accuracy expects query as finite features, got NaN or infinity in 1 of 10 rows: "
    ):
        knn_accuracy(x, y, broken, y, k=3)
    with pytest.raises(ValueError, match=r"expects features as finite features, got NaN"):
        leave_one_out_knn(broken, y, k=3)
    with pytest.raises(ValueError, match="query of width 6"):
        knn_accuracy(x, y, x[:, :5], y, k=3)
    with pytest.raises(ValueError, match=r"bank_labels as integers of shape \(10,\)"):
        knn_accuracy(x, y[:9], x, y, k=3)
    with pytest.raises(ValueError, match="integers"):
        knn_accuracy(x, y.double(), x, y, k=3)
    with pytest.raises(ValueError, match="non-empty matrix"):
        knn_accuracy(x, y, x[:0], y[:0], k=3)


def test_predictions_are_ordered_by_vote_and_count_among_the_top() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0]])
    labels, query = torch.tensor([4, 4, 9, 2]), torch.tensor([[1.0, 0.05], [0.1, 1.0]])
    assert knn_predict(bank, labels, query, k=3, top=5).tolist() == [[4, 9, 2], [9, 4, 2]]
    assert knn_predict(bank, labels, query, k=3, chunk=1).tolist() == [[4], [9]]
    truth = torch.tensor([9, 2])
    assert [knn_accuracy(bank, labels, query, truth, k=3, top=top) for top in (1, 2, 3)] == [0, 50, 100]
    with pytest.raises(ConfigError, match="top as a whole number >= 1, got 0"):
        knn_predict(bank, labels, query, k=3, top=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_knn_on_the_gpu_agrees_with_the_cpu() -> None:
    bank, labels = clusters(60, seed=0)
    query, truth = clusters(37, seed=1)
    expected = knn_accuracy(bank, labels, query, truth, 5)
    assert knn_accuracy(bank.cuda(), labels, query, truth, 5) == expected
