"""Distances over features: closed forms of Gaussians, other estimators, a network in a file."""

import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from corekit.errors import DataError, ShapeError, UsageError
from corekit.metrics.features import Features
from corekit.metrics.fid import Fid
from corekit.metrics.frechet import frechet_distance, kernel_distance, precision_recall
from corekit.metrics.nearest import NearestTraining, nearest

RNG = np.random.default_rng(0)


def test_the_frechet_distance_of_gaussians_is_their_formula():
    a = RNG.normal(size=(200_000, 2)) * [2.0, 1.0] + [1.0, 0.0]
    b = RNG.normal(size=(200_000, 2)) * [1.0, 3.0]
    assert frechet_distance(a, b) == pytest.approx(1 + 1 + 4, rel=0.02)  # |mean|, (2-1)^2, (1-3)^2
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + np.array([3.0, 4.0])) == pytest.approx(25)


def test_it_is_the_matrix_square_root_of_the_paper():
    mixing = RNG.normal(size=(2, 6, 6))
    a, b = (RNG.normal(size=(50, 6)) @ m for m in mixing)
    c_a, c_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(c_a @ c_b).real
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(c_a + c_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-8)
    assert frechet_distance(a[:4], b[:4]) >= 0  # fewer examples than features


def test_the_kernel_distance_is_unbiased_and_tells_sets_apart():
    same = [kernel_distance(*RNG.normal(size=(2, 40, 3))).value for _ in range(400)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 20
    found = kernel_distance(RNG.normal(size=(90, 3)), RNG.normal(size=(95, 3)) + 1, block=30)
    assert found.value > 4 * found.error > 0
    x, y = np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])
    # k(x, x') = 27; k(y, y') = 1; the cross terms 1, 64, 1, 343
    assert kernel_distance(x, y).value == pytest.approx(27 + 1 - 2 * (1 + 64 + 1 + 343) / 4)
    assert kernel_distance(x, y).error is None


def test_precision_and_recall_are_what_they_say():
    real = RNG.normal(size=(300, 2))
    narrow, far = 0.1 * RNG.normal(size=(300, 2)), 50 + RNG.normal(size=(300, 2))
    precision, recall = precision_recall(real, narrow)
    assert precision > 0.99
    assert recall < 0.3
    assert precision_recall(real, far) == (0.0, 0.0)
    both = precision_recall(real, RNG.normal(size=(300, 2)))
    assert min(both) > 0.8
    inner, outer = np.array([[0.0], [1.0], [3.0]]), np.array([[1.9], [2.1], [40.0]])
    # radii with k = 1: of 0 is 1, of 1 is 1, of 3 is 2; of 1.9 is 0.2, of 2.1 is 0.2, of 40 is 37.9
    assert precision_recall(inner, outer, k=1) == (2 / 3, 1 / 3)


def network(path, side=8):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, stride=2), torch.nn.Flatten()).eval()
    if path.suffix == ".pt2":
        batch = ({0: torch.export.Dim("batch")},)
        exported = torch.export.export(net, (torch.zeros(2, 1, side, side),), dynamic_shapes=batch)
        torch.export.save(exported, path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.save(torch.jit.script(net), str(path))
    return net


@pytest.mark.parametrize("ending", [".pt2", ".pt"])
def test_a_network_comes_in_a_file(tmp_path, ending):
    path = tmp_path / f"net{ending}"
    net, x = network(path), torch.rand(7, 1, 8, 8)
    of = Features(str(path), data_range=(0, 1), network_range=(-1, 3), batch=3)
    wanted = net(4 * x - 1).detach().double().numpy()
    np.testing.assert_allclose(of(x), wanted, atol=1e-5)
    assert of.name.startswith(f"net{ending} sha256 ")
    small = Features(str(path), data_range=(0, 1), network_range=(-1, 3), resize=8)
    assert small(torch.rand(5, 1, 16, 12)).shape == wanted[:5].shape
    figures = Fid(features=str(path))(*torch.rand(3, 20, 1, 8, 8))
    assert "net" in figures["fid"].protocol["features"]


def test_files_that_are_no_such_network_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"must be a file .pt2"):
        Features("net.onnx")
    (tmp_path / "broken.pt2").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        Features(str(tmp_path / "broken.pt2"))
    network(tmp_path / "net.pt2")
    of = Features(str(tmp_path / "net.pt2"))
    with pytest.raises(DataError, match=r"must take batches of shape .2, 1, 9, 9."):
        of(torch.zeros(2, 1, 9, 9))
    with pytest.raises(DataError, match="must be finite"):
        of(torch.full((2, 1, 8, 8), float("nan")))
    with pytest.raises(UsageError, match="data_range must rise"):
        Features(None, data_range=(1, 1))
    with pytest.raises(ShapeError, match=r"got .4, 3. and .4, 2."):
        frechet_distance(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(ShapeError, match="more than 3 rows"):
        precision_recall(np.zeros((3, 2)), np.ones((9, 2)))


def test_sets_are_cut_to_one_size_and_training_data_are_the_reference():
    samples, reference, train = torch.randn(50, 4), torch.randn(30, 4), torch.randn(80, 4)
    figures = Fid()(samples, reference, train)
    cut = [x[:30].double().numpy() for x in (samples, reference, train)]
    assert figures["fid"].value == pytest.approx(frechet_distance(cut[1], cut[0]))
    assert figures["fid"].references["train"] == pytest.approx(frechet_distance(cut[1], cut[2]))
    assert figures["fid"].protocol["examples"] == 30
    assert figures["precision"].value == precision_recall(cut[1], cut[0])[0]
    assert figures["recall"].value == precision_recall(cut[1], cut[0])[1]
    assert figures["precision"].better == "higher"


def test_copies_of_training_data_are_told():
    train, fresh = torch.randn(400, 3), torch.randn(200, 3)
    copies = NearestTraining()(train[:200] + 1e-4, fresh, train)
    honest = NearestTraining()(torch.randn(200, 3), fresh, train)
    assert copies["closer"].value == 1.0
    assert copies["distance"].value < 1e-3
    assert honest["closer"].value == pytest.approx(0.5, abs=0.12)
    distance, which = nearest((train[5:7] + 0.01).double(), train.double(), batch=1)
    assert which.tolist() == [5, 6]
    torch.testing.assert_close(distance, torch.full((2,), 0.01).double(), atol=1e-6, rtol=0)
