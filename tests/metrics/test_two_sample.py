"""1-NNA, coverage and MMD: by hand, by the reference's numbers, and by chance."""

import os

import numpy as np
import pytest

from corekit.errors import ShapeError
from corekit.metrics.two_sample import one_nna_chance, two_sample


def distances(a, b):
    return np.abs(np.subtract.outer(np.asarray(a, float), np.asarray(b, float)))


def figures(reference, samples):
    return two_sample(
        distances(reference, reference), distances(reference, samples), distances(samples, samples)
    )


def test_by_hand():
    # on a line:  r 0   s 1   r 3   r 4   s 8   s 10
    found = figures([0, 3, 4], [1, 8, 10])
    assert found.one_nna == pytest.approx(4 / 6)  # 0 -> s, 3 -> r, 4 -> r, 1 -> r, 8 -> s, 10 -> s
    assert found.one_nna_reference == pytest.approx(2 / 3)
    assert found.one_nna_samples == pytest.approx(2 / 3)
    assert found.coverage == pytest.approx(2 / 3)  # 1 -> 0, 8 -> 4, 10 -> 4
    assert found.mmd == pytest.approx((1 + 2 + 3) / 3)
    assert found.mmd_samples == pytest.approx((1 + 4 + 6) / 3)


def test_far_sets_copies_and_collapse():
    assert figures([0, 1, 2], [100, 101]).one_nna == 1
    copies = figures([0, 5, 9], [0.1, 5.1, 9.1])
    assert (copies.one_nna, copies.coverage) == (0, 1)
    collapse = figures(np.arange(0, 50, 5), 102 + np.arange(10) / 100)
    assert collapse.coverage == 0.1


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 5), (8, 64), (30, 10)])
def test_chance_is_what_equal_distributions_give(n, m):
    rng = np.random.default_rng(0)
    values = [
        figures(*np.split(rng.permutation(rng.random(n + m)), [m])).one_nna for _ in range(1500)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(one_nna_chance(n, m), abs=4.5 * error)


def test_inputs_are_left_alone_and_checked():
    r, s = distances([0, 1], [0, 1]), distances([2, 3, 4], [2, 3, 4])
    kept = r.copy()
    two_sample(r, distances([0, 1], [2, 3, 4]), s)
    assert np.array_equal(r, kept)
    with pytest.raises(ShapeError, match=r"got \(2, 2\), \(3, 2\), \(3, 3\)"):
        two_sample(r, distances([2, 3, 4], [0, 1]), s)


GOLDEN = os.environ.get("COREKIT_GOLDEN")


@pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name a folder with golden/pointcloud"
)
@pytest.mark.parametrize(
    "kind",
    [
        "cd/{}_f64",
        "emd/{}_exact_L2_f64",
        "emd/{}_exact_squaredL2_f64",
        "emd/{}_approxmatch_pointflow_port_f64",
        "emd/{}_approxmatch_pvd_lion_port_f64",
    ],
)
def test_golden_figures(kind):
    with np.load(f"{GOLDEN}/pointcloud/metrics.npz") as golden:
        matrices = (golden[kind.format(p)] for p in ("ref_ref", "ref_sample", "sample_sample"))
        found = two_sample(*matrices)
        prefix = kind.replace("/{}", "").replace("approxmatch", "approx") + "_metrics"
        prefix = prefix.replace("port_f64", "port")
        wanted = {
            "one_nna": "1nn_acc",
            "one_nna_reference": "1nn_acc_t",
            "one_nna_samples": "1nn_acc_f",
            "coverage": "lgan_cov",
            "mmd": "lgan_mmd",
            "mmd_samples": "lgan_mmd_smp",
        }
        for ours, theirs in wanted.items():
            value = golden[f"{prefix}/{theirs}"].item()
            assert getattr(found, ours) == pytest.approx(value, rel=1e-6), ours
