"""What a number may be called, and what sums of such numbers are."""

import math

import pytest
import torch

from corekit.errors import NoDensity, ShapeError
from corekit.interfaces.likelihood import Likelihood as L
from corekit.interfaces.likelihood import LogProb, importance_bound, weakest


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [
        (L.EXACT, L.EXACT, L.EXACT),
        (L.EXACT, L.WEIGHT, L.WEIGHT),
        (L.EXACT, L.UNBIASED, L.UNBIASED),
        (L.WEIGHT, L.WEIGHT, L.WEIGHT),
        (L.UNBIASED, L.UNBIASED, L.UNBIASED),
        (L.WEIGHT, L.UNBIASED, L.BOUND),
        (L.BOUND, L.WEIGHT, L.BOUND),
        (L.BOUND, L.NONE, L.NONE),
        (L.EXACT, L.NONE, L.NONE),
    ],
)
def test_a_sum_is_of_the_weaker_kind(a, b, total):
    one = torch.tensor([1.0])
    assert (LogProb(one, a) + LogProb(one, b)).kind is total
    assert (LogProb(one, b) + LogProb(one, a)).kind is total
    assert (LogProb(one, a) + LogProb(2 * one, b)).value.item() == 3.0


def test_weakest_of_many():
    assert weakest([L.EXACT, L.WEIGHT, L.UNBIASED]) is L.BOUND
    assert weakest([]) is L.EXACT


def test_only_an_exact_number_can_be_subtracted():
    one = torch.tensor([1.0])
    assert (LogProb(one, L.BOUND) - LogProb(one)).kind is L.BOUND
    assert (LogProb(one) - LogProb(one, L.BOUND)).kind is L.NONE


def test_importance_bound_averages_inside_the_logarithm():
    weights = LogProb(torch.tensor([0.0, 1.0, math.log(3.0), 1.0]))  # 2 draws of 2 rows
    bound = importance_bound(weights, 2)
    torch.testing.assert_close(bound.value, torch.tensor([math.log(2.0), 1.0]))
    assert bound.kind is L.WEIGHT


@pytest.mark.parametrize("kind", [L.UNBIASED, L.BOUND, L.NONE])
def test_importance_bound_refuses_what_would_overstate(kind):
    with pytest.raises(NoDensity, match=f"got '{kind.value}'"):
        importance_bound(LogProb(torch.zeros(4), kind), 2)


def test_importance_bound_wants_whole_sets_of_draws():
    with pytest.raises(ShapeError, match="multiple of draws=3, got 4"):
        importance_bound(LogProb(torch.zeros(4)), 3)


def test_a_bound_in_the_logarithm_does_overstate():
    """Why it is refused: E over x of the 'likelihood' exceeds the truth by nats."""
    torch.manual_seed(0)
    truth = -1.0
    noisy = truth - 2 + 4 * torch.randn(64 * 2000)  # a bound: E[value] = truth - 2
    wrong = (torch.logsumexp(noisy.reshape(64, 2000), 0) - math.log(64)).mean()
    assert wrong > truth + 1
