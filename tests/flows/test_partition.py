"""Which elements a coupling keeps, element by element."""

import pytest
import torch

from corekit.data_spec import Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import Affine
from corekit.flows.coupling import Coupling
from corekit.flows.elementwise import Elementwise
from corekit.flows.partition import SPLITS, partition
from corekit.spec.couplings import CouplingSpec, MlpSpec

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


@pytest.mark.parametrize(("swap", "stays"), [(False, {0, 3, 4}), (True, {1, 2})])
@pytest.mark.parametrize("shape", [(5,), (5, 2, 3)])
def test_a_list_names_what_is_kept(shape, swap, stays):
    torch.manual_seed(0)
    layer = Coupling(shape, split=(4, 0, 3), swap=swap).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, *shape, dtype=torch.float64)
    z, _ = layer(x)
    assert {i for i in range(5) if torch.equal(z[:, i], x[:, i])} == stays
    torch.testing.assert_close(layer.inverse(z)[0], x)
    kept, moved = layer.parts.split(x)
    assert (kept.shape[1:], moved.shape[1:]) == (layer.parts.kept_shape, layer.parts.moved_shape)
    assert torch.equal(kept if not swap else moved, x[:, [4, 0, 3]])


@pytest.mark.parametrize("kept", [(), (0, 1, 2), (0, 0), (0, 3), (-1,)])
def test_a_list_must_name_some_features_each_once(kept):
    words = r"must name some, not all, of the features or channels, each once, got \["
    with pytest.raises(ShapeError, match=words):
        partition((3,), kept, swap=False)
    if all(i >= 0 for i in kept):
        spec = CouplingSpec(split=kept, net={"type": "mlp"})
        with pytest.raises(ShapeError, match=words):
            spec.shape((3,))


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("split", ["halves", (2, 0, 3)])
def test_the_spec_of_a_network_is_asked_about_the_parts_that_it_will_see(split, swap, monkeypatch):
    asked = []
    monkeypatch.setattr(MlpSpec, "shape", lambda _, **shapes: asked.append(shapes))
    assert CouplingSpec(split=split, swap=swap, net=MlpSpec()).shape((5,)) == (5,)
    parts = partition((5,), split, swap=swap)
    assert asked[0]["in_shape"] == parts.kept_shape
    assert asked[0]["out_shape"] == (1, *parts.moved_shape)


def test_the_floor_of_a_scale():
    x, low = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[[-60.0], [0.5]]]).double()
    for scale, default in (("sigmoid2", 0.0), ("softplus", 1e-3)):
        for floor, want in ((None, default), (0.25, 0.25)):
            univariate = Affine(scale, floor=floor)
            z, log_slope = univariate.forward(x, low)
            assert z.item() == pytest.approx(want + 0.5, abs=1e-12)
            assert log_slope.exp().item() == pytest.approx(want, abs=1e-12)
            assert univariate.floor == want
    for arguments in (("exp", 2.0, 0.1), ("softplus", 2.0, -0.1)):
        with pytest.raises(
            UsageError, match="floor must be at least 0, of the scales sigmoid2 and"
        ):
            Affine(*arguments)


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
