"""Noise: from generators, per row, or given."""

import pytest
import torch

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.draws import Draws, GivenDraws, RowDraws, as_draws, seed_of


def test_seeds_of_different_keys_differ_and_stay_the_same_everywhere():
    assert seed_of(0, "noise", 1) != seed_of(0, "noise", 2)
    assert seed_of(1, 11) != seed_of(11, 1)
    assert seed_of(0, "row", 0) == 4385829318151273766
    assert 0 <= seed_of("x") < 2**63


def test_a_generator_gives_the_same_numbers_again():
    like = torch.empty(0, dtype=torch.float64)
    a, b = (Draws(torch.Generator().manual_seed(3)).normal("z", (4, 2), like) for _ in range(2))
    assert torch.equal(a, b)
    assert a.dtype == torch.float64


@pytest.mark.parametrize("method", ["normal", "uniform"])
def test_half_precision_sees_the_noise_of_single_precision(method):
    def draw(like):
        return getattr(Draws(torch.Generator().manual_seed(0)), method)("z", (64,), like)

    single, half = draw(torch.empty(0)), draw(torch.empty(0).bfloat16())
    assert torch.equal(half, single.bfloat16())


@pytest.mark.parametrize("method", ["normal", "uniform"])
def test_a_row_gets_the_same_numbers_in_any_batch(method):
    like = torch.empty(0)
    whole = getattr(RowDraws(5, range(7)), method)("z", (7, 3), like)
    part = getattr(RowDraws(5, [4, 2]), method)("z", (2, 3), like)
    assert torch.equal(part, whole[[4, 2]])
    assert not torch.equal(whole[0], whole[1])


def test_integers_per_row():
    device = torch.device("cpu")
    whole = RowDraws(5, range(50)).integers("t", 10, (50,), device)
    assert torch.equal(RowDraws(5, [9]).integers("t", 10, (1,), device), whole[9:10])
    assert whole.min() >= 0
    assert whole.max() == 9


def test_several_draws_of_a_row_stand_draw_by_draw():
    like = torch.empty(0)
    whole = RowDraws(5, range(3)).normal("z", (6, 2), like)
    assert torch.equal(RowDraws(5, [1]).normal("z", (2, 2), like), whole[[1, 4]])
    whole = RowDraws(5, range(3)).integers("t", 99, (6,), like.device)
    assert torch.equal(RowDraws(5, [1]).integers("t", 99, (2,), like.device), whole[[1, 4]])


def test_rows_must_match():
    with pytest.raises(ShapeError, match=r"must have 3 rows.*got shape \(2, 1\)"):
        RowDraws(0, range(3)).normal("z", (2, 1), torch.empty(0))


def test_given_numbers_are_used_in_order_and_checked():
    draws = GivenDraws({"z": [torch.ones(2), torch.zeros(2)]})
    like = torch.empty(0, dtype=torch.float64)
    assert draws.normal("z", (2,), like).tolist() == [1.0, 1.0]
    assert draws.normal("z", (2,), like).dtype == torch.float64
    with pytest.raises(UsageError, match="no numbers left for 'z'"):
        draws.normal("z", (2,), like)
    with pytest.raises(ShapeError, match=r"'a' must have shape \(3,\), got \(2,\)"):
        GivenDraws({"a": torch.ones(2)}).uniform("a", (3,), like)


def test_none_is_the_global_generator():
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    assert torch.equal(as_draws(None).normal("z", (3,), torch.empty(0)), expected)
