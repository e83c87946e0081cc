import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from torch import Tensor

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import LinearProbe, few_label_probe, linear_probe, probes

Split = tuple[Tensor, Tensor, Tensor, Tensor]


def split(classes: int = 4, n: int = 300, d: int = 12, seed: int = 0) -> Split:
    """Overlapping clusters of strongly correlated features, with labels that are not 0 … classes - 1."""
    g = torch.Generator().manual_seed(seed)
    centers = torch.randn(classes, d, generator=g, dtype=torch.float64)
    labels = torch.randint(classes, (2 * n,), generator=g)
    noise = torch.randn(2 * n, d, generator=g, dtype=torch.float64) * 2
    mixing = torch.randn(d, d, generator=g, dtype=torch.float64) * torch.logspace(0, -2, d, dtype=torch.float64)
    x = (centers[labels] + noise) @ mixing + 3
    return x[:n], labels[:n] * 10 - 7, x[n:], labels[n:] * 10 - 7


@pytest.mark.parametrize("C", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("wide", ["n > d", "n < d"])
def test_solution_is_that_of_sklearn(C: float, wide: str) -> None:
    x, y, _, _ = split() if wide == "n > d" else split(d=40, n=30)
    x = (x - 2) / x.std(dim=0)
    classes, inverse = torch.unique(y, return_inverse=True)
    weight, bias = probes.fit_logistic(x, inverse, len(classes), C, max_iter=500, tolerance=1e-9)
    reference = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-9).fit(x.numpy(), y.numpy())
    probabilities = torch.nn.functional.linear(x, weight, bias).softmax(dim=1)
    np.testing.assert_allclose(probabilities.numpy(), reference.predict_proba(x.numpy()), atol=1e-5)
    np.testing.assert_allclose(weight.numpy(), reference.coef_, atol=1e-4 * np.abs(reference.coef_).max())


def test_loss_and_gradient_are_those_of_autograd() -> None:
    x, y, _, _ = split()
    classes, target = torch.unique(y, return_inverse=True)
    weight = torch.randn(len(classes), x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.randn(len(classes), dtype=x.dtype, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, weight, bias), target)
    expected = (loss, *torch.autograd.grad(loss, (weight, bias)))
    with torch.no_grad():
        torch.testing.assert_close(probes._cross_entropy(x, target, weight, bias), expected)


def test_a_probe_of_very_wide_features_makes_no_square_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, test, truth = split(n=100, d=40)
    spread = torch.linalg.qr(torch.randn(30_000, 40, generator=torch.Generator().manual_seed(1))).Q.T.double()
    sizes = []
    eye = torch.eye
    monkeypatch.setattr(torch, "eye", lambda d, **kwargs: sizes.append(d) or eye(d, **kwargs))
    wide = few_label_probe((x @ spread).float(), y, (test @ spread).float(), truth, 3, draws=3)
    assert wide == pytest.approx(few_label_probe(x, y, test, truth, 3, draws=3), abs=1)
    assert max(sizes) <= 40


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_probe_has_the_accuracy_of_sklearn(dtype: torch.dtype) -> None:
    x, y, test, truth = split()
    reference = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky", tol=1e-8)).fit(
        x.numpy(), y.numpy()
    )
    expected = 100 * reference.score(test.numpy(), truth.numpy())
    assert 40 < expected < 95
    assert linear_probe(x.to(dtype), y, test.to(dtype), truth) == pytest.approx(expected)


def test_linear_probe_ignores_affine_scales_and_constant_features() -> None:
    x, y, test, truth = split()
    expected = linear_probe(x, y, test, truth)
    scale = torch.logspace(-4, 4, x.shape[1], dtype=torch.float64)
    assert linear_probe(x * scale + 50, y, test * scale + 50, truth) == pytest.approx(expected)
    constant = torch.full((len(x), 1), 0.1)
    # The test rows leave the constant: a deviation of rounding noise scaled up to 1 would decide every prediction.
    assert linear_probe(
        torch.cat([x.float(), constant], 1), y, torch.cat([test.float(), constant + 1e-7], 1), truth
    ) == pytest.approx(expected)


def test_linear_probe_depends_on_C() -> None:
    x, y, test, truth = split()
    assert linear_probe(x, y, test, truth, C=1e-4) != linear_probe(x, y, test, truth, C=10.0)


def test_a_probe_is_fitted_once_and_judged_on_any_set() -> None:
    x, y, test, truth = split()
    probe = LinearProbe(x, y)
    for rows in (slice(0, 200), slice(250, 251)):
        assert probe.accuracy(test[rows], truth[rows]) == linear_probe(x, y, test[rows], truth[rows])
    assert probe.accuracy(test, truth + 1) == 0, "classes without training rows"
    with pytest.raises(ValueError, match="LinearProbe expects x of width 12"):
        probe.accuracy(test[:, 1:], truth)


def test_unconverged_probe_warns() -> None:
    x, y, test, truth = split()
    with pytest.warns(UserWarning, match="max_iter=2 before it converged"):
        linear_probe(x, y, test, truth, max_iter=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_probe(x, y, test, truth)


@pytest.mark.parametrize("classes", [3, 5])
def test_few_label_probe_is_its_protocol_by_sklearn(classes: int) -> None:
    x, y, test, truth = split(classes)
    rows, queries = normalize(x.numpy()), normalize(test.numpy())
    rng = np.random.default_rng(5)
    scores = []
    for _ in range(4):
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(y.numpy() == c), 6, replace=False) for c in np.unique(y.numpy())]
        )
        model = LogisticRegression(C=10, solver="newton-cholesky", tol=1e-8).fit(rows[chosen], y.numpy()[chosen])
        scores.append(100 * model.score(queries, truth.numpy()))
    mean, std = few_label_probe(x, y, test, truth, per_class=6, draws=4, seed=5)
    assert mean == pytest.approx(np.mean(scores), abs=0.1)
    assert std == pytest.approx(np.std(scores), abs=0.1)
    assert std > 0


def test_draws_are_balanced_distinct_and_depend_on_seed_and_labels_alone() -> None:
    y = split()[1]
    few, many = probes.draw_rows(y, 5, 2, seed=1), probes.draw_rows(y, 5, 6, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(few, many, strict=False))
    assert not torch.equal(few[0], few[1])
    assert not torch.equal(few[0], probes.draw_rows(y, 5, 1, seed=2)[0])
    for rows in many:
        assert len(rows.unique()) == 20
        assert torch.unique(y[rows], return_counts=True)[1].tolist() == [5] * 4


def test_few_label_probe_ignores_the_scale_of_rows_and_the_global_generators() -> None:
    x, y, test, truth = split()
    expected = few_label_probe(x, y, test, truth, 3)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    state = torch.get_rng_state()
    assert few_label_probe(x * 1000, y, test / 1000, truth, 3) == pytest.approx(expected)
    assert torch.equal(state, torch.get_rng_state())


def test_one_draw_has_no_spread() -> None:
    assert few_label_probe(*split(), per_class=3, draws=1)[1] == 0


def test_errors_are_one_line_and_name_the_cure() -> None:
    x, y, test, truth = split()
    rare = y.clone()
    rare[rare == -7] = 3
    rare[:2] = -7
    with pytest.raises(
        ConfigError, match=r"^few_label_probe expects per_class at most 2, got 3: class -7 has 2 training rows$"
    ):
        few_label_probe(x, rare, test, truth, per_class=3)
    for setting in ({"per_class": 0}, {"per_class": 1, "draws": 0}):
        with pytest.raises(ConfigError, match=r"a (whole|positive) number"):
            few_label_probe(x, y, test, truth, **setting)
    for probe_setting in ({"C": 0.0}, {"max_iter": 0}):
        with pytest.raises(ConfigError, match=r"a (whole|positive) number"):
            linear_probe(x, y, test, truth, **probe_setting)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"^linear_probe expects train_y to hold two classes or more, got the one class 3$"
    ):
        linear_probe(x, torch.full_like(y, 3), test, truth)
    broken = test.clone()
    broken[0, 0] = torch.inf
    with pytest.raises(
        ValueError, match=r"^linear_probe expects test_x as finite features, got NaN or infinity in 1 of 300 rows"
    ):
        linear_probe(x, y, broken, truth)
    with pytest.raises(ValueError, match="few_label_probe expects test_x of width 12"):
        few_label_probe(x, y, test[:, 1:], truth, per_class=1)
