"""Random numbers for parts that have no argument for them."""

import pytest
import torch

from corekit.interfaces.drawing import current_draws, drawing
from corekit.interfaces.draws import GivenDraws

LIKE = torch.zeros(())


def number():
    return current_draws().normal("probe", (3,), LIKE)


def test_a_block_gives_its_numbers_and_the_innermost_counts():
    given = torch.tensor([1.0, 2.0, 3.0])
    with drawing(torch.Generator().manual_seed(0)):
        first = number()
        with drawing(GivenDraws({"probe": given})):
            assert torch.equal(number(), given)
        second = number()
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(first, torch.randn(3, generator=generator))
    assert torch.equal(second, torch.randn(3, generator=generator))


def test_outside_of_any_block_numbers_are_those_of_the_global_generator():
    torch.manual_seed(4)
    first = number()
    torch.manual_seed(4)
    assert torch.equal(first, torch.randn(3))


def test_a_block_that_fails_is_left_behind():
    with pytest.raises(RuntimeError, match="stop"), drawing(torch.Generator()):
        raise RuntimeError("stop")
    torch.manual_seed(4)
    first = number()
    torch.manual_seed(4)
    assert torch.equal(first, torch.randn(3))
