"""Metrics of reconstructions say the right number and what it is to be compared with."""

import numpy as np
import pytest
import torch
from corekit_pointcloud_diffusion.metrics import Chamfer, Emd, FScore

from corekit.data.shapes3d import Shapes3d
from corekit.errors import ShapeError
from corekit.metrics.distances import chamfer, paired_chamfer
from corekit.metrics.emd import emd
from corekit.metrics.f_score import paired_f_score
from corekit.metrics.soft_matching import soft_matching


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
    assert (figure.better, Chamfer.needs) == ("lower", "reconstructions")
    alone = Chamfer()(noisy[:1], reference[:1], train)["chamfer"]
    assert alone.references == {}


def test_every_figure_tells_how_it_was_measured(shapes):
    _, reference, train = shapes
    wanted = {"normalise": "none", "points": (64, 64), "samples": 10, "reference": 10, "train": 60}
    for metric, emd_kind in ((Chamfer(), None), (FScore(), None), (Emd(), "exact, mean distance")):
        (figure,) = metric(reference + 0.01, reference, train).values()
        assert wanted.items() <= figure.protocol.items()
        assert figure.protocol.get("emd") == emd_kind
        assert figure.protocol["distance"] == metric.definition


def test_normalised_is_by_the_size_of_the_own_shape(shapes):
    _, reference, train = shapes
    low, high = reference.amin(1), reference.amax(1)
    half = (high - low).amax(1) / 2
    figure = Chamfer(normalise="shape_bbox")(reference + 0.01, reference, train)["chamfer"]
    plain = paired_chamfer(reference + 0.01, reference) / half.numpy() ** 2
    assert figure.value == pytest.approx(plain.mean(), rel=1e-4)


def test_emd_is_of_the_kind_that_its_name_says(shapes):
    _, reference, train = shapes
    noisy = reference + 0.1 * torch.randn(reference.shape, generator=torch.manual_seed(0))
    pairs = list(zip(noisy, reference, strict=True))
    x, y = noisy.double(), reference.double()
    wanted = {
        "exact": ("emd", np.mean([emd(a, b) for a, b in pairs])),
        "squared": ("emd_squared", np.mean([emd(a, b, squared=True) for a, b in pairs])),
        "pointflow": ("emd_pointflow", soft_matching(x, y, "pointflow").cost.mean().item()),
        "pvd": ("emd_pvd", soft_matching(x, y, "pvd").cost.mean().item()),
    }
    for kind, (name, value) in wanted.items():
        figures = Emd(kind=kind)(noisy, reference, train)
        assert list(figures) == [name]
        assert figures[name].value == pytest.approx(value)
        assert figures[name].references["another shape"] > value
        assert ("not EMD" in figures[name].protocol["emd"]) == (kind in ("pointflow", "pvd"))
    with pytest.raises(ShapeError, match="equally many points, got 32 and 64"):
        Emd()(noisy[:, :32], reference, train)


def test_f_score_is_high_for_good_reconstructions(shapes):
    _, reference, train = shapes
    near = reference + 0.02
    figure = FScore(threshold=0.03, squared=False)(near, reference, train)["f_score"]
    assert figure.value == paired_f_score(near, reference, threshold=0.03, squared=False).mean()
    assert 1 > figure.value > figure.references["another shape"]
    assert (figure.better, figure.protocol["distance"]) == (
        "higher",
        "F-score, distance below 0.03",
    )
    squared = FScore(threshold=0.03**2)(near, reference, train)["f_score"]
    assert squared.value == figure.value
