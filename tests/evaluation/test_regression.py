import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import regression_error


def test_the_error_is_that_of_scikit_learns_ridge() -> None:
    x = torch.randn(80, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 5] = 3  # constant
    y = torch.stack([x[:, 0] * 3 + 1, x[:, 1] ** 2], dim=1)
    scaler = StandardScaler().fit(x[:50])
    model = Ridge(alpha=2.0).fit(scaler.transform(x[:50]), y[:50])
    expected = (torch.from_numpy(model.predict(scaler.transform(x[50:]))) - y[50:]).norm(dim=1).mean()
    assert regression_error(x[:50], y[:50], x[50:], y[50:], penalty=2.0) == pytest.approx(float(expected), rel=1e-9)


def test_what_does_not_fit_is_refused() -> None:
    x, y = torch.randn(8, 3), torch.randn(8, 2)
    with pytest.raises(ConfigError, match="penalty as a positive number, got 0"):
        regression_error(x, y, x, y, penalty=0)
    with pytest.raises(ValueError, match=r"train_y of shape \(8, 2\), one target of each row, got \(7, 2\)"):
        regression_error(x, y[:7], x, y)
    with pytest.raises(ValueError, match="test_x of width 3"):
        regression_error(x, y, x[:, :2], y)
