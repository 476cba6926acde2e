"""Which elements a coupling keeps, element by element."""

import pytest
import torch

from corekit.data_spec import Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import Affine
from corekit.flows.coupling import Coupling
from corekit.flows.elementwise import Elementwise
from corekit.flows.partition import SPLITS, partition

KEPT = {
    "halves": lambda c, i, j: c < 2,
    "interleaved": lambda c, i, j: c % 2 == 0,
    "checkerboard": lambda c, i, j: (i + j) % 2 == 0,
    "rows": lambda c, i, j: i < 3,
    "columns": lambda c, i, j: j < 2,
}


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_what_is_kept(split, swap):
    shape = (3, 5, 4)
    torch.manual_seed(0)
    layer = Coupling(shape, split=split, swap=swap).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, *shape, dtype=torch.float64)
    z, _ = layer(x)
    index = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    kept = KEPT[split](*index) ^ swap
    assert torch.equal(z == x, kept.expand_as(x))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("swap", [False, True])
def test_parts_join_to_the_whole(split, swap):
    x = torch.randn(2, 5, 3, 4)
    parts = partition((5, 3, 4), split, swap=swap)
    kept, moved = parts.split(x)
    assert (kept.shape[1:], moved.shape[1:]) == (parts.kept_shape, parts.moved_shape)
    assert torch.equal(parts.join(kept, moved), x)


def test_a_mask_hides_what_moves_from_the_network():
    layer = Coupling((1, 4, 4), split="checkerboard").double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    other = torch.where(layer.parts.mask, x, x + 1)
    slopes = layer(x)[1], layer(other)[1]
    assert torch.equal(*slopes)


@pytest.mark.parametrize(
    ("shape", "split", "error"),
    [
        ((1,), "halves", ShapeError),
        ((1, 4, 4), "interleaved", ShapeError),
        ((4,), "checkerboard", ShapeError),
        ((3, 1, 4), "rows", ShapeError),
        ((3, 4, 1), "columns", ShapeError),
        ((3, 1, 1), "checkerboard", ShapeError),
        ((4,), "thirds", UsageError),
    ],
)
def test_events_that_cannot_be_divided(shape, split, error):
    with pytest.raises(error, match="coupling: "):
        partition(shape, split, swap=False)


def test_shared_parameters_are_one_set_per_channel():
    layer = Elementwise((3, 4, 5), univariate=Affine("exp", None), shared=True)
    assert layer.params.shape == (2, 3, 1, 1)
    with torch.no_grad():
        layer.params[1, :, 0, 0] = torch.tensor([1.0, 2.0, 3.0])
    z, _ = layer(torch.zeros(1, 3, 4, 5))
    assert z[0].unique(dim=1).flatten(1).unique(dim=1)[:, 0].tolist() == [1, 2, 3]
    with pytest.raises(ShapeError, match="must have an axis of features and more behind it"):
        Elementwise((3,), univariate=Affine(), shared=True)


def test_a_map_that_leaves_its_domain_is_refused():
    class Squash(Affine):
        codomain = Support.UNIT_INTERVAL

    with pytest.raises(ShapeError, match="the map must end where it begins"):
        Coupling((4,), univariate=Squash())
