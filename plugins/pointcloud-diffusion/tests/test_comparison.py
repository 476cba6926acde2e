"""1-NNA, coverage, MMD and JSD say the right number and what it is to be compared with."""

import os

import corekit_pointcloud_diffusion.comparison as comparison
import corekit_pointcloud_diffusion.jsd as jsd_module
import numpy as np
import pytest
import torch
from corekit_pointcloud_diffusion import sets
from corekit_pointcloud_diffusion.comparison import Coverage, Mmd, OneNna
from corekit_pointcloud_diffusion.jsd import Jsd

from corekit.data.hdf5 import Hdf5PointClouds
from corekit.data.shapes3d import Shapes3d
from corekit.errors import DataError, UsageError
from corekit.metrics.all_pairs import Pairs
from corekit.metrics.distances import ChamferPairs, pairwise_chamfer
from corekit.metrics.emd import EMDPairs, pairwise_emd
from corekit.metrics.occupancy import jsd, occupancy
from corekit.metrics.two_sample import one_nna_chance, two_sample


def clouds(split, rows):
    return torch.stack([split.get(i, np.random.default_rng(i)).x for i in rows])


@pytest.fixture(autouse=True)
def nothing_shared():
    """Each test measures its own distances."""
    sets._shared.clear()


@pytest.fixture(scope="module")
def shapes():
    data = Shapes3d(points=64, size=80, held_out=10)
    train = clouds(data.split("train"), range(80))
    return train[:20], clouds(data.split("test"), range(10)), train[20:]


def unit_box(x):
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    return (x - (low + high) / 2) / ((high - low).amax(2, keepdim=True) / 2)


@pytest.fixture
def measured(monkeypatch):
    """Rows of distances that were measured, one entry each."""
    rows = []
    row = ChamferPairs.row
    monkeypatch.setattr(ChamferPairs, "row", lambda *a: rows.append(len(a[2])) or row(*a))
    return rows


def test_one_nna_is_that_of_the_normalised_clouds(shapes):
    samples, reference, train = shapes
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
    monkeypatch.setattr(comparison, "two_sample", lambda *m: seen.append(m) or two_sample(*m))
    OneNna(subsets=3, normalise="none")(samples, reference, train)
    across, among = pairwise_chamfer(reference, samples), pairwise_chamfer(samples)
    np.fill_diagonal(among, np.inf)  # a sample is not its own neighbour
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


def test_ceiling_and_floor_are_measured_once(shapes, measured):
    samples, reference, train = shapes
    metric = OneNna(points=32)
    first = metric(samples[:10], reference, train[:10])
    assert sum(measured) == 4 * 45 + 3 * 100  # within each set; from the reference to the others
    measured.clear()
    metric(samples[:10] + torch.rand(64, 3), reference, train[:10])
    assert sum(measured) == 45 + 100
    measured.clear()
    assert metric(samples[:10], reference, train[:10])["one_nna"].value == first["one_nna"].value


def test_three_metrics_of_one_evaluation_share_their_distances(shapes, measured):
    samples, reference, train = shapes
    first = OneNna(points=32, subsets=3)(samples, reference, train)
    before = len(measured)
    coverage = Coverage(points=32, subsets=3)(samples, reference, train)
    mmd = Mmd(points=32, subsets=3)(samples, reference, train)
    assert len(measured) == before > 0
    assert coverage == {"coverage": first["coverage"]}
    assert list(mmd) == ["mmd", "mmd_samples"]
    assert mmd["mmd"] == first["mmd"]


def test_coverage_and_mmd_alone_measure_no_set_with_itself(shapes, measured):
    samples, reference, train = shapes
    figures = Mmd(points=32)(samples[:10], reference, train[:10])
    assert sum(measured) == 3 * 100
    across = pairwise_chamfer(unit_box(reference), unit_box(samples[:10]))
    full = Mmd()(samples[:10], reference, train[:10])
    assert full["mmd_samples"].value == pytest.approx(across.min(0).mean(), rel=1e-4)
    assert figures["mmd"].better == figures["mmd_samples"].better == "lower"


def test_no_more_than_a_few_matrices_are_remembered(shapes):
    _, reference, _ = shapes
    arrays = list(reference.numpy())
    for i in range(12):
        sets.shared_pairs(ChamferPairs(), arrays, [arrays[0] + i], cache=None, workers=1)
    assert len(sets._shared) == 8


def test_chance_of_the_shares_is_that_of_any_other_shape(shapes):
    samples, reference, train = shapes
    figures = OneNna(points=16)(samples[:6], reference, train)
    assert figures["one_nna_reference"].references["chance"] == 9 / 15
    assert figures["one_nna_samples"].references["chance"] == 5 / 15
    share = (10 * figures["one_nna_reference"].value + 6 * figures["one_nna_samples"].value) / 16
    assert figures["one_nna"].value == pytest.approx(share)


def test_exact_emd_by_minima_is_that_of_the_whole_matrices(shapes, monkeypatch):
    samples, reference, train = shapes
    samples, train = samples[:10], train[:10]
    r, s = (x[:, :24] for x in (reference, samples))
    found = OneNna(distance="emd", normalise="none")(s, r, train[:, :24])
    wanted = two_sample(pairwise_emd(r), pairwise_emd(r, s), pairwise_emd(s))
    for name in ("one_nna", "one_nna_reference", "one_nna_samples", "coverage", "mmd"):
        assert found[f"{name}_emd"].value == pytest.approx(getattr(wanted, name))
    assert found["mmd_emd"].protocol["emd"] == "exact, mean distance"
    pairs = [p for p in sets._shared.values() if isinstance(p.distance, EMDPairs)]
    assert sum(p.solved for p in pairs) < 0.7 * (4 * 45 + 3 * 100)


@pytest.mark.parametrize("distance", ["emd_pointflow", "emd_pvd"])
def test_the_approximations_are_named_in_the_figures(shapes, distance):
    samples, reference, train = shapes
    figures = Coverage(distance=distance, points=12)(samples[:5], reference[:5], train[:5])
    (name,) = figures
    assert name == f"coverage_{distance}"
    assert "not EMD" in figures[name].protocol["emd"]
    with pytest.raises(UsageError, match="got 'sinkhorn'"):
        Coverage(distance="sinkhorn")


def test_an_interrupted_evaluation_goes_on_from_its_cache(shapes, tmp_path, monkeypatch, measured):
    samples, reference, train = shapes
    options = {"points": 16, "cache": str(tmp_path), "subsets": 2}
    whole = OneNna(points=16, subsets=2)(samples, reference, train)
    rows, sets._shared = len(measured), type(sets._shared)()
    keep, kept = Pairs._keep, []

    def interrupted(self, *new):
        keep(self, *new)
        kept.append(1)
        if len(kept) == rows // 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Pairs, "_keep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            OneNna(**options)(samples, reference, train)
    sets._shared.clear()
    measured.clear()
    assert OneNna(**options)(samples, reference, train) == whole
    assert len(measured) == rows - rows // 2


def test_sets_that_are_too_small_or_not_finite_are_refused(shapes):
    samples, reference, train = shapes
    with pytest.raises(DataError, match="at least 2 samples, got 1"):
        OneNna()(samples[:1], reference, train)
    with pytest.raises(DataError, match="finite"):
        OneNna(normalise="none")(samples * torch.nan, reference, train)


def test_jsd_is_that_of_the_scaled_counts_with_ceiling_and_floor(shapes):
    samples, reference, train = shapes
    figure = Jsd()(samples[:10], reference, train)["jsd"]
    counts = [occupancy(unit_box(x), scale=0.5).counts for x in (samples[:10], reference)]
    assert figure.value == pytest.approx(jsd(*counts), abs=2e-3)  # float32 at the borders of cells
    assert figure.references["ceiling"] < figure.references["floor"]
    assert figure.protocol["outside"] == (0, 0)
    assert (
        figure.protocol["distance"] == "JSD in bits, 28^3 lattice in a ball, coordinates times 0.5"
    )
    assert (figure.protocol["compared"], figure.better) == (10, "lower")


def test_jsd_takes_as_many_samples_as_there_are_reference_shapes(shapes, monkeypatch):
    samples, reference, train = shapes
    sizes = []
    monkeypatch.setattr(
        jsd_module, "occupancy", lambda x, **k: sizes.append(len(x)) or occupancy(x, **k)
    )
    figure = Jsd()(samples, reference, train)["jsd"]
    assert sizes == [10, 10, 10, 10]
    assert (figure.protocol["samples"], figure.protocol["compared"]) == (20, 10)


def test_the_scale_of_jsd_fits_the_clouds_whatever_their_size(shapes):
    samples, reference, train = shapes
    for normalise in ("none", "shape_unit"):
        small = Jsd(normalise=normalise)(samples[:10], reference, train)["jsd"]
        large = Jsd(normalise=normalise)(5 * samples[:10], 5 * reference, 5 * train)["jsd"]
        assert small.protocol["outside"][1] == 0
        assert large.value == pytest.approx(small.value, abs=5e-3)
    wrong = Jsd(scale=1)(samples[:10], reference, train)["jsd"]
    assert wrong.protocol["outside"][0] > 0.5
    with pytest.raises(DataError, match=r"Jsd: .* 1 samples, got 0"):
        Jsd()(samples[:0], reference, train)


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
