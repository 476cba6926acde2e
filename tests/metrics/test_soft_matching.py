"""The two approximations are what their code computes, and are not EMD."""

import os

import numpy as np
import pytest
import torch

import corekit.metrics.soft_matching as module
from corekit.errors import ShapeError, UsageError
from corekit.metrics.all_pairs import all_pairs
from corekit.metrics.emd import emd
from corekit.metrics.named_distances import DISTANCES, named_distance
from corekit.metrics.soft_matching import soft_matching


@pytest.fixture
def clouds():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 24, 3, generator=generator, dtype=torch.float64)


def by_loops(x, y, *, pvd):
    """The levels of the kernels, a pair of points at a time."""
    n = len(x)
    left, right, cost = [1.0] * n, [1.0] * n, 0.0
    squares = [[float(((p - q) ** 2).sum()) for q in y] for p in x]
    for level in [4.0**j for j in range(7, -2, -1)] + [0.0] * pvd:
        kernel = [[np.exp(-level * s) for s in row] for row in squares]
        ratio = [
            left[i] / (1e-9 + sum(kernel[i][j] * right[j] for j in range(n))) for i in range(n)
        ]
        for j in range(n):
            reached = right[j] * sum(kernel[i][j] * ratio[i] for i in range(n))
            part = min(right[j] / (reached + 1e-9), 1.0) * right[j]
            for i in range(n):
                moved = ratio[i] * kernel[i][j] * part
                cost += moved * (squares[i][j] if pvd else squares[i][j] ** 0.5)
                left[i] -= moved
            right[j] = max(0.0, right[j] - reached)
        left = [max(0.0, value) for value in left]
    return cost / n


@pytest.mark.parametrize("kind", ["pointflow", "pvd"])
def test_it_is_the_loop_over_pairs_of_points(clouds, kind):
    x, y = 3 * clouds[:, :, :7]  # far enough apart for the last levels to matter
    wanted = [by_loops(a.numpy(), b.numpy(), pvd=kind == "pvd") for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(soft_matching(x, y, kind).cost, wanted, rtol=1e-10)


def test_small_batches_change_nothing(clouds, monkeypatch):
    x, y = clouds
    whole = soft_matching(x, y)
    monkeypatch.setattr(module, "_ENTRIES", 2 * 24**2)
    torch.testing.assert_close(soft_matching(x, y), whole, rtol=1e-14, atol=0)


def test_it_lies_above_the_optimum_and_depends_on_the_order(clouds):
    x, y = clouds
    for kind, squared in (("pointflow", False), ("pvd", True)):
        found = soft_matching(x, y, kind)
        exact = [emd(a, b, squared=squared) for a, b in zip(x, y, strict=True)]
        assert (found.cost.numpy() > 1.01 * np.array(exact)).all()
        assert (soft_matching(y, x, kind).cost != found.cost).all()
        assert ((found.mass > 0.9) & (found.mass < 1 + 1e-9)).all()


def test_the_gradient_holds_the_matching_fixed(clouds):
    x, y = (c[:1, :5].clone().requires_grad_() for c in clouds)
    soft_matching(x, y, "pvd").cost.sum().backward()
    distances = torch.cdist(x, y).detach()
    match = module._match(distances.square(), last=True)
    pull = 2 * match[..., None] * (x[:, :, None] - y[:, None]).detach() / 5
    torch.testing.assert_close(x.grad, pull.sum(2))
    torch.testing.assert_close(y.grad, -pull.sum(1))


def test_what_does_not_fit_is_refused(clouds):
    x, y = clouds
    with pytest.raises(ShapeError, match=r"got \(3, 24, 3\) and \(3, 20, 3\)"):
        soft_matching(x, y[:, :20])
    with pytest.raises(UsageError, match="one of pointflow, pvd, got 'emd'"):
        soft_matching(x, y, "emd")
    with pytest.raises(ShapeError, match=r"emd_pvd: .* got 20 and 24"):
        all_pairs(named_distance("emd_pvd"), x, y[:, :20])
    with pytest.raises(UsageError, match=r"one of chamfer, emd, .* got 'sinkhorn'"):
        named_distance("sinkhorn")


def test_every_name_is_a_distance_that_says_what_it_is():
    found = [named_distance(name) for name in DISTANCES]
    assert tuple(d.name for d in found) == DISTANCES
    assert len({d.definition for d in found}) == len(DISTANCES)
    assert [d.emd is None for d in found] == [True, False, False, False, False]
    assert ["not EMD" in (d.emd or "") for d in found] == [False, False, False, True, True]


GOLDEN = os.environ.get("COREKIT_GOLDEN")


@pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name a folder with golden/pointcloud"
)
def test_golden_matrices():
    with np.load(f"{GOLDEN}/pointcloud/metrics.npz") as golden:
        sets = {name: torch.from_numpy(golden[name]).double() for name in ("ref", "sample")}
        for a, b in (("ref", "sample"), ("ref", "ref"), ("sample", "sample")):
            x, y, shape = sets[a], sets[b], (len(sets[a]), len(sets[b]))
            rows = x.repeat_interleave(len(y), 0)
            columns = y.repeat(len(x), 1, 1)
            for kind, key in (("pointflow", "pointflow"), ("pvd", "pvd_lion")):
                found = soft_matching(rows, columns, kind)
                wanted = golden[f"emd/{a}_{b}_approxmatch_{key}_port_f64"]
                np.testing.assert_allclose(found.cost.view(shape), wanted, rtol=1e-10, atol=1e-13)
                if kind == "pointflow":
                    wanted = golden[f"emd/{a}_{b}_approxmatch_pointflow_mass"]
                    np.testing.assert_allclose(found.mass.view(shape), wanted, rtol=1e-12)
        matrix = all_pairs(named_distance("emd_pvd"), sets["ref"][:3], sets["sample"])
        wanted = golden["emd/ref_sample_approxmatch_pvd_lion_port_f64"][:3]
        np.testing.assert_allclose(matrix, wanted, rtol=1e-10)
