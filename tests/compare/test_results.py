import numpy as np
import pytest
from scipy import stats

from cl_as_gnn.compare import interval


def test_interval_is_students():
    values = [1.0, 2.0, 4.0, 3.5, 0.5]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    mean, half = interval(values)
    assert (mean - half, mean + half) == pytest.approx((expected.low, expected.high))
    assert np.isnan(interval([1.0])[1])
