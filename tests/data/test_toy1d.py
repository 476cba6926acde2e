"""Numbers from densities on the line, and the densities that they are from."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from corekit.data.loading import Loader
from corekit.data.toy1d import DENSITIES, Toy1d
from corekit.data.toy2d import Toy2d
from corekit.errors import DataError, ShapeError
from corekit.testing import parametrize_checks


@parametrize_checks("dataset", "toy1d")
def test_promises(check):
    check()


@pytest.mark.parametrize("noise", [1.0, 0.5])
@pytest.mark.parametrize("density", DENSITIES)
def test_the_density_integrates_to_one_and_is_that_of_the_points(density, noise):
    data = Toy1d(density, size=200_000, noise=noise)
    edges = torch.linspace(-4, 4, 161, dtype=torch.float64)
    fine = torch.linspace(-4, 4, 160_001, dtype=torch.float64)[:, None] + 1e-9
    p = data.log_prob(fine).value.exp()
    assert torch.trapezoid(p, fine[:, 0]).item() == pytest.approx(1, abs=1e-4)
    points = data.split("train").points().double()[:, 0]
    share = torch.histogram(points, edges).hist / len(points)
    want = p[:-1].reshape(160, 1000).mean(1) * 0.05
    assert ((share - want).abs() < 5 * (want / len(points)).sqrt() + 1e-4).all()


def test_entropies():
    for density, want in {
        "mixture": 1.0100857,
        "uniform": math.log(4),
        "triangular": 0.5 + math.log(2),
    }.items():
        data = Toy1d(density, held_out=100_000)
        log_p = data.log_prob(data.split("test").points()).value
        assert abs(-log_p.mean() - want) < 4 * log_p.std() / len(log_p) ** 0.5 + 1e-6
    folder = os.environ.get("COREKIT_GOLDEN")
    if folder:
        with np.load(Path(folder) / "flows" / "toy_density.npz") as archive:
            assert archive["mix1d_entropy"].item() == pytest.approx(1.0100857, abs=1e-6)


@pytest.mark.parametrize("data", [Toy1d(size=8, fresh=True), Toy2d(size=8, fresh=True)])
def test_fresh_points_never_come_twice_and_are_a_function_of_seed_and_step(data):
    def epochs(workers=0):
        batches = iter(Loader(data.split("train"), 4, seed=1, workers=workers))
        return torch.cat([next(batches).x for _ in range(6)])

    points = epochs()
    assert len(points.unique(dim=0)) == 24
    assert torch.equal(points, epochs())
    held_out = data.split("val")
    assert torch.equal(held_out.points(), held_out.points())


def test_wrong_names_and_shapes():
    with pytest.raises(DataError, match="Did you mean 'ripples'"):
        Toy1d("ripple")
    with pytest.raises(ShapeError, match=r"x must have shape \(batch, 1\), got \(2, 2\)"):
        Toy1d().log_prob(torch.zeros(2, 2))
