"""AUC and rank correlation, against counting pairs and against scipy."""

import math

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from corekit.errors import ShapeError
from corekit.metrics.ranking import auc, spearman


def test_auc_counts_pairs_and_halves_ties():
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 6, 40), rng.integers(-1, 5, 30)  # many ties
    pairs = high[:, None] - low
    want = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert auc(high, low) == pytest.approx(want, abs=1e-12)
    assert auc(low, high) == pytest.approx(1 - want, abs=1e-12)


def test_auc_of_two_gaussians_is_the_one_of_the_books():
    rng = np.random.default_rng(0)
    got = auc(rng.normal(1.0, 1.0, 20_000), rng.normal(0.0, 2.0, 20_000))
    assert got == pytest.approx(norm.cdf(1 / math.sqrt(5)), abs=0.01)


def test_an_auc_without_one_side_is_not_known():
    assert math.isnan(auc(np.array([1.0]), np.array([])))
    assert math.isnan(auc(np.array([1.0, math.nan]), np.array([0.0])))


def test_spearman_is_that_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, 60).astype(float)
    y = np.exp(x + rng.normal(size=60))
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert spearman(x, -x) == pytest.approx(-1)
    assert math.isnan(spearman(x, np.ones(60)))
    with pytest.raises(ShapeError, match=r"got \(60,\) and \(59,\)"):
        spearman(x, y[1:])
