"""Scores of strangeness, where they are known."""

import numpy as np
import pytest
from scipy.stats import chi2

from corekit.errors import UsageError
from corekit.metrics.ood import likelihood_ratio, png_nats, typicality


def test_typicality_is_small_for_a_sample_and_large_for_the_mode():
    """Of a standard normal density; -log p without its constant is chi squared over two."""
    features = 50
    entropy = features / 2
    sample = np.random.default_rng(0).chisquare(features, 20_000) / 2
    deviations = typicality(sample, entropy)
    for share in (0.5, 0.9):
        want = np.quantile(np.abs(chi2.ppf(np.linspace(0.0005, 0.9995, 1000), 50) / 2 - 25), share)
        assert np.quantile(deviations, share) == pytest.approx(want, rel=0.03)
    assert typicality(np.zeros(1), entropy) == [25]  # the most likely point of all


def test_batches_are_rows_that_follow_each_other():
    got = typicality(np.array([1.0, 3.0, 5.0, 9.0, 100.0]), 4.0, batch=2)
    np.testing.assert_array_equal(got, [2.0, 3.0])  # |2 - 4| and |7 - 4|; the rest is left out
    for batch in (0, 6):
        with pytest.raises(UsageError, match=f"1 to 5 examples, as many as there are, got {batch}"):
            typicality(np.ones(5), 0.0, batch)


def test_what_the_background_explains_is_not_strange():
    got = likelihood_ratio(np.array([10.0, 10.0]), np.array([10.0, 4.0]))
    np.testing.assert_array_equal(got, [0.0, 6.0])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_is_about_as_long_as_its_noise(channels):
    noise = np.random.default_rng(0).integers(0, 256, (2, channels, 32, 40), dtype=np.uint8)
    flat = np.full((1, channels, 32, 40), 7, np.uint8)
    bits = png_nats(np.concatenate([noise, flat])) / np.log(2)
    assert np.all(bits[:2] > 8 * noise[0].size)  # noise has no shorter code
    assert np.all(bits[:2] < 1.2 * 8 * noise[0].size)
    assert bits[2] < 0.1 * bits[0]


def test_a_png_is_made_of_bytes():
    with pytest.raises(UsageError, match=r"got float64 \(1, 1, 2, 2\)"):
        png_nats(np.zeros((1, 1, 2, 2)))
    with pytest.raises(UsageError, match=r"got uint8 \(1, 2, 2, 2\)"):
        png_nats(np.zeros((1, 2, 2, 2), np.uint8))
