"""Chamfer and OneNna say the right number and what it is to be compared with."""

import os

import corekit_pointcloud_diffusion.metrics as metrics
import numpy as np
import pytest
import torch
from corekit_pointcloud_diffusion.metrics import Chamfer, OneNna

from corekit.data.hdf5 import Hdf5PointClouds
from corekit.data.shapes3d import Shapes3d
from corekit.errors import DataError
from corekit.metrics.distances import chamfer, pairwise_chamfer
from corekit.metrics.two_sample import one_nna_chance, two_sample


def clouds(split, rows):
    return torch.stack([split.get(i, np.random.default_rng(i)).x for i in rows])


@pytest.fixture(scope="module")
def shapes():
    data = Shapes3d(points=64, size=80, held_out=10)
    train = clouds(data.split("train"), range(80))
    return train[:20], clouds(data.split("test"), range(10)), train[20:]


def test_chamfer_is_to_the_own_shape_with_another_beside(shapes):
    _, reference, train = shapes
    noisy = reference + 0.01
    figure = Chamfer()(noisy, reference, train)["chamfer"]
    own = [chamfer(a, b) for a, b in zip(noisy, reference, strict=True)]
    other = [chamfer(a, reference[i - turn]) for turn in range(1, 9) for i, a in enumerate(noisy)]
    assert figure.value == pytest.approx(np.mean(own))
    assert figure.references["another shape"] == pytest.approx(np.mean(other))
    assert figure.protocol["sd_over_shapes"] == pytest.approx(np.std(own, ddof=1))
    assert (figure.better, Chamfer.needs, OneNna.needs) == ("lower", "reconstructions", "samples")
    alone = Chamfer()(noisy[:1], reference[:1], train)["chamfer"]
    assert alone.references == {}


def test_one_nna_is_that_of_the_normalised_clouds(shapes):
    samples, reference, train = shapes

    def unit_box(x):
        low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
        return (x - (low + high) / 2) / ((high - low).amax(2, keepdim=True) / 2)

    r, s = unit_box(reference), unit_box(samples[:10] * 3 + 1)
    wanted = two_sample(pairwise_chamfer(r), pairwise_chamfer(r, s), pairwise_chamfer(s))
    figures = OneNna(subsets=2)(samples[:10] * 3 + 1, reference, train)
    assert figures["one_nna"].value == wanted.one_nna
    assert figures["coverage"].value == wanted.coverage
    assert figures["mmd"].value == pytest.approx(wanted.mmd, rel=1e-4)
    assert figures["one_nna"].sd is None


def test_chance_ceiling_and_floor_stand_beside_it(shapes):
    samples, reference, train = shapes
    figure = OneNna(subsets=5, points=48)(samples[:6], reference, train)["one_nna"]
    assert figure.references["chance"] == one_nna_chance(6, 10)
    assert figure.references["floor"] > 0.8
    assert 0.2 < figure.references["ceiling"] < 0.85
    wanted = {"samples": 6, "compared": 6, "reference": 10, "points": 48, "normalise": "shape_bbox"}
    assert wanted.items() <= figure.protocol.items()
    assert figure.protocol["ceiling"] == "6 of 60 training shapes"
    assert figure.protocol["ceiling_sd"] > 0
    assert figure.better == "chance"


def test_more_samples_than_reference_give_a_mean_and_sd_over_subsets(shapes):
    samples, reference, train = shapes
    figure = OneNna(subsets=6, points=48)(samples, reference, train)["one_nna"]
    assert figure.sd > 0
    assert (figure.protocol["samples"], figure.protocol["compared"]) == (20, 10)
    assert figure.protocol["subsets"] == 6


def test_subsets_are_of_distinct_samples_with_their_own_distances(shapes, monkeypatch):
    samples, reference, train = shapes
    seen = []
    monkeypatch.setattr(metrics, "two_sample", lambda *m: seen.append(m) or two_sample(*m))
    OneNna(subsets=3, normalise="none")(samples, reference, train)
    across, among = pairwise_chamfer(reference, samples), pairwise_chamfer(samples)
    for _, some, within in seen[:3]:  # of the samples, before the ceiling and the floor
        rows = np.abs(across[:, :, None] - some[:, None]).sum(0).argmin(0)
        assert len(set(rows)) == 10
        np.testing.assert_allclose(some, across[:, rows], rtol=1e-6)
        np.testing.assert_allclose(within, among[np.ix_(rows, rows)], rtol=1e-6)


def test_a_collapsed_model_is_found_out(shapes):
    _, reference, train = shapes
    same = train[:1].repeat(10, 1, 1) + 1e-3 * torch.arange(10)[:, None, None]
    figures = OneNna(subsets=2, normalise="none")(same, reference, train)
    assert figures["one_nna"].value > 0.9
    assert figures["coverage"].value <= 0.2


def test_the_same_seed_gives_the_same_figures_in_any_order(shapes):
    samples, reference, train = shapes
    metric = OneNna(subsets=3, points=32)
    first = metric(samples, reference, train)
    metric(samples[:8], reference, train)
    assert metric(samples, reference, train) == first  # ceiling and floor come from memory
    assert OneNna(subsets=3, points=32)(samples, reference, train) == first
    assert OneNna(subsets=3, points=32, seed=1)(samples, reference, train) != first


def test_ceiling_and_floor_are_measured_once(shapes, monkeypatch):
    samples, reference, train = shapes
    metric = OneNna(subsets=2, points=32)
    metric(samples, reference, train)
    compare, calls = metric._compare, []
    monkeypatch.setattr(metric, "_compare", lambda *a: calls.append(a) or compare(*a))
    metric(samples + 1, reference, train)
    assert len(calls) == 1
    metric(samples, reference, train + 1)
    assert len(calls) == 3


def test_sets_that_are_too_small_or_not_finite_are_refused(shapes):
    samples, reference, train = shapes
    with pytest.raises(DataError, match="at least 2 samples, got 1"):
        OneNna()(samples[:1], reference, train)
    with pytest.raises(DataError, match="finite"):
        OneNna(normalise="none")(samples * torch.nan, reference, train)


REAL = os.environ.get("COREKIT_DATA")


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="COREKIT_DATA does not name a folder with real data")
def test_training_shapes_reach_the_known_ceiling_on_headwear():
    data = Hdf5PointClouds(f"{REAL}/ldraw_pc2048_small.h5", ["headwear"], points=512, scale="none")
    held_out = [clouds(s, range(len(s))) for s in (data.split("val"), data.split("test"))]
    train = clouds(data.split("train"), range(230))
    figures = OneNna(normalise="none")(train[:58], torch.cat(held_out), train)
    # a subset of the training shapes measured elsewhere: 1-NNA 0.47, COV 0.50, MMD 0.0046
    wanted = {"one_nna": 0.47, "coverage": 0.50, "mmd": 0.0046}
    for name, value in wanted.items():
        sd = figures[name].protocol["ceiling_sd"]
        assert figures[name].references["ceiling"] == pytest.approx(value, abs=3 * sd)
    assert figures["one_nna"].references["floor"] > 0.85
