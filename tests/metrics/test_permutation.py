"""The tests of "better": exact cases by hand, and p-values uniform without a difference."""

import numpy as np
import pytest

from corekit.errors import DataError, UsageError
from corekit.metrics.permutation import paired_difference, unpaired_difference


def test_sign_flips_by_hand():
    first, second = [3.0, 2.0, 5.0], [1.0, 3.0, 2.0]  # differences 2, -1, 3
    # sums of +-2 +-1 +-3: 6, 4, 2, 0, 0, -2, -4, -6; the sum is 4
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(4 / 3)
    assert found.standard_error == pytest.approx(np.std([2, -1, 3], ddof=1) / np.sqrt(3))
    assert (found.p_value, found.exact, found.rearrangements) == (4 / 8, True, 8)
    assert paired_difference(first, second, alternative="greater").p_value == 2 / 8
    assert paired_difference(first, second, alternative="less").p_value == 7 / 8


def test_splits_by_hand():
    # of {1, 2, 4, 8} two: sums 3, 5, 9, 6, 10, 12; the first has 1 + 2 = 3
    found = unpaired_difference([1, 2], [4, 8])
    assert found.mean == -4.5
    assert found.standard_error == pytest.approx(np.sqrt(0.5 / 2 + 8 / 2))
    assert (found.p_value, found.exact, found.rearrangements) == (2 / 6, True, 6)
    assert unpaired_difference([1, 2], [4, 8], alternative="less").p_value == 1 / 6
    # sizes differ: pairs of {0, 1, 2, 3, 10} sum to s = 1 2 3 3 4 5 10 11 12 13; with the means
    # apart by s / 2 - (16 - s) / 3, those of 1, 12 and 13 are at least as far as the given -4.5
    assert unpaired_difference([0, 1], [2, 3, 10]).mean == -4.5
    assert unpaired_difference([0, 1], [2, 3, 10]).p_value == 3 / 10


def test_five_pairs_show_a_difference_on_one_side_only():
    better, worse = [0.50, 0.52, 0.55, 0.51, 0.53], [0.60, 0.61, 0.66, 0.60, 0.65]
    both = paired_difference(better, worse)
    one = paired_difference(better, worse, alternative="less")
    assert (both.p_value, one.p_value) == (1 / 16, 1 / 32)
    assert (both.clear(), one.clear()) == (False, True)
    assert one.clear(alpha=0.01) is False


def test_a_difference_within_two_standard_errors_is_not_clear():
    first, second = [1.0, 1.0, 1.0, 1.0, 1.0, 3.0], [0.9, 0.9, 0.9, 0.9, 0.9, 0.0]
    found = paired_difference(first, second, alternative="greater")
    assert found.p_value < 0.05
    assert not found.clear()


@pytest.mark.parametrize("test", [paired_difference, unpaired_difference])
@pytest.mark.parametrize("limit", [20_000, 99])
def test_p_values_are_uniform_without_a_difference(test, limit):
    rng = np.random.default_rng(0)
    found = [test(*rng.normal(size=(2, 8)), limit=limit, seed=i) for i in range(200)]
    assert {f.exact for f in found} == {limit == 20_000}
    p = np.array([f.p_value for f in found])
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        spread = np.sqrt(level * (1 - level) / len(p))
        assert (p <= level).mean() == pytest.approx(level, abs=3.5 * spread + 0.01)
    assert p.min() > 0


@pytest.mark.parametrize("test", [paired_difference, unpaired_difference])
def test_random_rearrangements_come_near_all_of_them(test):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 8))
    for side in ("less", "greater", "two-sided"):
        exact = test(a, b + 0.5, alternative=side)
        drawn = test(a, b + 0.5, alternative=side, limit=200 if test is paired_difference else 9000)
        assert (exact.exact, drawn.exact) == (True, False)
        assert drawn.p_value == pytest.approx(exact.p_value, abs=0.12)


def test_equal_figures_are_no_difference():
    found = paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert (found.mean, found.p_value, found.clear()) == (0, 1, False)


def test_ties_count_whatever_the_rounding():
    # the mean of these, and the same as a sum of products, differ in the last bit
    assert paired_difference([0.5, 0.8, 0.4, 0.7], [0, 0, 0, 0]).p_value == 1 / 8


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="must be paired, got 2 and 3"):
        paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match=r"second must be at least 2 finite figures, got \[1.\]"):
        unpaired_difference([1, 2], [1])
    with pytest.raises(DataError, match="first must be at least 2 finite"):
        paired_difference([1, np.nan], [1, 2])
    with pytest.raises(UsageError, match="got 'lower'"):
        paired_difference([1, 2], [1, 2], alternative="lower")
