import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from cl_as_gnn.evaluation import cross_validated_svm, few_label_probe, knn_accuracy, span_coordinates, validated_probe
from cl_as_gnn.evaluation.probes import C_GRID, SVM_GRID


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    x = torch.randn(300, 80, generator=generator) + 0.5 * F.one_hot(y, 80)
    node = torch.arange(300)
    return x, y, node < 30, (node >= 30) & (node < 120), node >= 120


def test_c_is_chosen_on_validation_rows_and_scored_once(data):
    x, y, train, validation, test = data
    z, classes = F.normalize(x.double(), dim=1).numpy(), y.numpy()
    best = None
    for strength in C_GRID:
        model = LogisticRegression(C=strength, max_iter=3000).fit(z[train], classes[train])
        held = model.score(z[validation], classes[validation])
        if best is None or held > best[0]:
            best = held, strength, model.score(z[test], classes[test])
    found = validated_probe(x, y, train, validation, test)
    assert best[1] == found.C
    assert found.validation == pytest.approx(100 * best[0])
    assert found.test == pytest.approx(100 * best[2], abs=0.6)
    assert found.C not in (C_GRID[0], C_GRID[-1])
    # What the test labels are does not move the choice.
    assert validated_probe(x, (y + test.long()) % 3, train, validation, test).C == found.C


def test_without_validation_rows_c_is_given(data):
    x, y, train, validation, test = data
    none = torch.zeros_like(validation)
    found = validated_probe(x, y, train, none, test, C=0.5)
    assert (found.C, found.validation) == (0.5, None)
    with pytest.raises(ValueError, match="the mask is empty"):
        validated_probe(x, y, none, validation, test)


def test_coordinates_of_the_span_change_nothing_that_training_rows_teach(data):
    x, y, train, _, test = data
    short = span_coordinates(x, train)
    assert short.shape == (300, 31)
    torch.testing.assert_close(short.norm(dim=1), x.double().norm(dim=1))
    torch.testing.assert_close(short @ short[train].t(), x.double() @ x[train].double().t(), atol=1e-5, rtol=1e-5)
    bank, query = (x[train], y[train]), (x[test], y[test])
    same = (short[train], y[train]), (short[test], y[test])
    assert knn_accuracy(*bank, *query, k=5) == knn_accuracy(*same[0], *same[1], k=5)
    for count in (1, 10):
        old, new = few_label_probe(*bank, *query, count, 3)[0], few_label_probe(*same[0], *same[1], count, 3)[0]
        assert new == pytest.approx(old, abs=0.2)
    assert span_coordinates(x[:, :31], train) is not None
    assert span_coordinates(x[:, :31], train).shape == (300, 31)


def test_svm_is_nested_cross_validation():
    rng = np.random.default_rng(0)
    y = np.arange(48) % 2
    x = rng.normal(size=(48, 4)) + 1.5 * y[:, None]
    scores = []
    for fit, test in StratifiedKFold(3, shuffle=True, random_state=0).split(x, y):
        search = GridSearchCV(SVC(), {"C": list(SVM_GRID)}, cv=5).fit(x[fit], y[fit])
        scores.append(100 * search.score(x[test], y[test]))
    mean, spread = cross_validated_svm(torch.from_numpy(x), torch.from_numpy(y), folds=3)
    assert (mean, spread) == pytest.approx((np.mean(scores), np.std(scores)))
    assert 60 < mean < 100
