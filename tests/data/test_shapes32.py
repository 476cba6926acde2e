"""Drawn colour pictures: what they show is what their factors say."""

import colorsys

import numpy as np
import pytest
import torch

from corekit.data.shapes32 import FACTORS, KINDS, Shape, Shapes32, render
from corekit.errors import DataError, UsageError
from corekit.spec.data import Shapes32Spec

RNG = np.random.default_rng(0)


def lit(picture):
    """How much of each pixel the shape covers, from the channel where it differs most."""
    ground = picture[:, 0, 0].astype(float)
    apart = np.abs(picture - ground[:, None, None])
    return apart[apart.max((1, 2)).argmax()] / apart.max()


@pytest.mark.parametrize("kind", KINDS)
def test_factors_are_what_the_picture_shows(kind):
    shape = Shape(kind, 0.4, 0.25, 0.4, 0.6, 0.2)
    cover = lit(render(shape, 64))
    across, down = (np.arange(64) + 0.5) / 64, (np.arange(64) + 0.5)[:, None] / 64
    assert (cover * across).sum() / cover.sum() == pytest.approx(0.4, abs=0.01)
    assert (cover * down).sum() / cover.sum() == pytest.approx(0.6, abs=0.01)
    twice = lit(render(shape._replace(size=0.125, x=0.5, y=0.5), 64)).sum()
    assert cover.sum() / twice == pytest.approx(4, rel=0.03)
    middle = render(shape._replace(x=0.5, y=0.5), 63)[:, 31, 31] / 255
    assert colorsys.rgb_to_hsv(*middle)[0] == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotation_of_one_is_the_same_shape_and_less_is_not(kind):
    shape = Shape(kind, 0.9, 0.3, 0.5, 0.5, 0.0)
    whole, half = (render(shape._replace(rotation=r), 32).astype(float) for r in (1.0, 0.5))
    first = render(shape, 32).astype(float)
    assert np.abs(whole - first).mean() < 1
    assert np.abs(half - first).mean() > 3


def test_it_turns_the_way_that_the_angle_says():
    """A quarter of an ellipse's half turn: its long axis goes down to the right."""
    cover = lit(render(Shape("ellipse", 0.1, 0.3, 0.5, 0.5, 0.25), 64))
    across, down = np.meshgrid(np.arange(64) - 31.5, np.arange(64) - 31.5)
    assert (cover * across * down).sum() > 100


def test_pictures_come_with_their_factors():
    split = Shapes32(size=40, labels=True, factors=True).split("train")
    for index in range(8):
        item = split.get(index, RNG)
        shape = split.shape(index)
        assert item.condition.labels == KINDS.index(shape.kind) == index % 4
        torch.testing.assert_close(item.condition.vector, torch.tensor(shape[1:]).float())
        assert split.name(index) == f"{shape.kind}/{index}"
        levels = (item.x + 1) * 255 / 2
        assert np.abs(levels.numpy() - render(shape, 32)).max() < 1e-4
    assert len(shape[1:]) == len(FACTORS)


def test_factors_are_spread_evenly_and_independently():
    split = Shapes32(size=4000).split("train")
    values = np.array([split.shape(i)[1:] for i in range(4000)])
    low, high = np.array([0, 0.15, 0.3, 0.3, 0]), np.array([1, 0.3, 0.7, 0.7, 1])
    unit = (values - low) / (high - low)
    assert unit.min() >= 0
    assert unit.max() <= 1
    np.testing.assert_allclose(unit.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(unit.var(0), 1 / 12, atol=0.005)
    assert np.abs(np.corrcoef(unit.T) - np.eye(5)).max() < 0.06


def test_a_picture_depends_on_its_number_alone():
    small, large = (Shapes32(size=n).split("train").get(2, RNG).x for n in (3, 50))
    assert torch.equal(small, large)
    others = Shapes32(size=3, seed=1).split("train"), Shapes32(size=3).split("val")
    assert not any(torch.equal(small, split.get(2, RNG).x) for split in others)


@pytest.mark.parametrize("options", [{}, {"labels": True}, {"factors": True, "side": 9}])
def test_the_spec_knows_what_the_data_are(options):
    assert Shapes32Spec(**options).data_spec() == Shapes32(**options).data_spec


def test_other_ranges_are_kept():
    item = Shapes32(value_range=(0, 1)).split("val").get(0, RNG)
    assert (item.x.min() >= 0) & (item.x.max() <= 1) & (item.x.max() > 0.9)


def test_mistakes_are_explained():
    with pytest.raises(UsageError, match="side must be at least 8"):
        Shapes32(side=7)
    with pytest.raises(UsageError, match="value_range rise"):
        Shapes32(value_range=(1, 1))
    with pytest.raises(DataError, match="one of train, val, test, got 'all'"):
        Shapes32().split("all")
    with pytest.raises(IndexError, match="the split has 2"):
        Shapes32(size=2).split("train").get(2, RNG)
