"""Shapes that corekit draws: deterministic, distinct, sampled by area, with exact factors."""

import pickle

import numpy as np
import pytest

from corekit.data.shape_recipes import RECIPES
from corekit.data.shapes3d import POOL, Shapes3d
from corekit.data.solids import areas
from corekit.errors import DataError, UsageError
from corekit.spec.data import Shapes3dSpec

ALL = tuple(RECIPES)


def x(split, index, seed=0):
    return split.get(index, np.random.default_rng(seed)).x


def test_a_shape_depends_on_seed_split_and_number_only():
    small, large = Shapes3d(size=4, points=64), Shapes3d(size=400, points=64)
    assert x(small.split("train"), 3).equal(x(large.split("train"), 3))
    assert small.split("train").factors(3) == large.split("train").factors(3)
    assert small.split("train").factors(3) != Shapes3d(seed=1).split("train").factors(3)
    assert not x(small.split("train"), 3).equal(x(small.split("train"), 3, seed=1))


def test_reading_order_does_not_matter():
    forwards, backwards = (Shapes3d(points=32, size=4).split("train") for _ in range(2))
    shapes = [forwards.cloud(i) for i in range(4)]
    again = [backwards.cloud(i) for i in reversed(range(4))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(shapes, again, strict=True))
    copy = pickle.loads(pickle.dumps(forwards))
    assert np.array_equal(copy.cloud(2), shapes[2])


def test_splits_have_no_shape_in_common():
    data = Shapes3d(ALL, points=8, size=40, held_out=40)
    seen = [
        tuple(data.split(name).factors(i).values())
        for name in ("train", "val", "test")
        for i in range(40)
    ]
    assert len(set(seen)) == 120


def test_categories_take_turns_and_name_the_shapes():
    split = Shapes3d(("chair", "rocket"), size=3).split("train")
    assert [split.label(i) for i in range(3)] == [0, 1, 0]
    assert [split.name(i) for i in range(3)] == ["chair/0", "rocket/1", "chair/2"]
    with pytest.raises(IndexError):
        split.label(3)


@pytest.mark.parametrize("category", ALL)
def test_factors_stay_in_their_range_and_vary(category):
    split = Shapes3d((category,), size=60).split("train")
    drawn = [split.factors(i) for i in range(60)]
    for factor in RECIPES[category].factors:
        values = [f[factor.name] for f in drawn]
        assert factor.low <= min(values) < max(values) <= factor.high
        assert factor.unit
        if factor.choices:
            assert set(values) == set(factor.choices)


@pytest.mark.parametrize("category", ALL)
def test_every_factor_changes_the_shape(category):
    recipe = RECIPES[category]
    # the values at which every other factor shows
    base = {
        f.name: f.choices[0] if f.choices else 0.7 * f.low + 0.3 * f.high for f in recipe.factors
    }
    base |= {"boosters": 2.0} if category == "rocket" else {}

    def corners(values):
        parts = recipe.build(values)
        return np.concatenate([solid.ravel() for solids in parts.values() for solid in solids])

    for factor in recipe.factors:
        other = {**base, factor.name: factor.choices[-1] if factor.choices else factor.high}
        before, after = corners(base), corners(other)
        assert before.shape != after.shape or not np.allclose(before, after), factor.name


@pytest.mark.parametrize("category", ALL)
def test_points_are_shared_out_by_area(category):
    split = Shapes3d((category,), points=5000, size=1, scale="none").split("train")
    triangles = np.concatenate(list(split.parts(0).values()))
    cloud = split.cloud(0)
    assert len(cloud) == POOL * 5000
    # the moments of the surface: those of its triangles, weighted by area
    weight = areas(triangles) / areas(triangles).sum()
    mean = weight @ triangles.mean(1)
    a, b, c = triangles.swapaxes(0, 1)
    square = weight @ ((a**2 + b**2 + c**2 + a * b + b * c + c * a) / 6)
    sd = np.sqrt(square - mean**2)
    assert np.abs(cloud.mean(0) - mean).max() < 5 * sd.max() / np.sqrt(len(cloud))
    assert cloud.std(0) == pytest.approx(sd, rel=0.03)


def test_left_and_right_are_alike_and_the_box_is_centred():
    parts = Shapes3d(ALL, size=8).split("train")
    for i in range(8):
        corners = np.concatenate(list(parts.parts(i).values())).reshape(-1, 3)
        assert corners.max(0) == pytest.approx(-corners.min(0))


def test_points_come_in_no_order():
    cloud = Shapes3d(("chair",), points=2000, size=1, scale="none").split("train").cloud(0)
    low = cloud[:, 1] < np.median(cloud[:, 1])
    assert (low[1:] != low[:-1]).mean() == pytest.approx(0.5, abs=0.05)


def test_sizes_spec_and_defaults():
    data = Shapes3d(size=10, held_out=3)
    assert [len(data.split(s)) for s in data.splits] == [10, 3, 3]
    fields = Shapes3dSpec().model_dump(exclude={"type"})
    assert Shapes3d(**fields).data_spec == Shapes3dSpec().data_spec()
    assert fields == Shapes3d.__init__.__kwdefaults__ | {"categories": ("aeroplane", "chair")}
    assert data.describe()["sizes"] == {"train": 10, "val": 3, "test": 3}


def test_global_unit_uses_the_training_shapes():
    data = Shapes3d(points=32, size=6, held_out=2, scale="global_unit")
    raw = Shapes3d(points=32, size=6, scale="none").split("train")
    std = np.concatenate([raw.cloud(i) for i in range(6)]).astype(float).std(ddof=1)
    assert data.split("test").shift_and_scale(1)[1] == pytest.approx(std, rel=1e-6)


def test_mistakes_are_answered_with_what_there_is():
    with pytest.raises(
        DataError, match=r"aeroplane, chair.*got 'airplane'\. Did you mean 'aeroplane'"
    ):
        Shapes3d(("airplane",))
    with pytest.raises(DataError, match=r"train, val, test, got 'valid'"):
        Shapes3d().split("valid")
    with pytest.raises(UsageError, match="at least 1, got 0"):
        Shapes3d(points=0)


def test_shapes_hand_on_their_kind_if_asked():
    data = Shapes3d(("chair", "table", "rocket"), points=8, size=6, labels=True)
    split, rng = data.split("train"), np.random.default_rng(0)
    assert [int(split.get(i, rng).condition.labels) for i in range(6)] == [0, 1, 2, 0, 1, 2]
    assert data.data_spec.condition_shapes == {"labels": ()}
    assert Shapes3d(points=8).split("train").get(0, rng).condition is None
