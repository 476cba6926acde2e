"""Telling other data from held-out ones, against closed forms of Gaussians."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import f, ncf

from corekit.build import build_dataset
from corekit.data.arrays import Arrays
from corekit.data_spec import DataSpec
from corekit.errors import CorekitError, DataError, NoDensity, UsageError
from corekit.flows.actnorm import ActNorm
from corekit.flows.model import FlowModel
from corekit.interfaces.likelihood import Likelihood
from corekit.metrics.ood import png_nats
from corekit.spec import run_spec
from corekit.train import ood as module
from corekit.train.ood import code_lengths, other_data, tell_apart

N = 4000


def data(folder, name, draw, **options):
    arrays = {f"x_{split}": draw(seed) for seed, split in enumerate(("train", "val", "test"))}
    np.savez(folder / f"{name}.npz", **arrays)
    return Arrays(folder / f"{name}.npz", **options)


def gaussian(features, scale=1.0, shift=0.0, seed=0):
    def draw(part):
        rng = np.random.default_rng([seed, part])
        return (rng.normal(size=(N, features)) * scale + shift).astype(np.float32)

    return draw


def model_of(features, scale=1.0):
    """The density N(0, scale^2), with the same scale for each feature or one for each."""
    model = FlowModel(DataSpec((features,)), bijector=ActNorm).eval()
    actnorm = model.density.bijector
    with torch.no_grad():
        actnorm.log_scale.copy_(-torch.as_tensor(scale).log().expand(features))
    return model


def found(*args, **options):
    return {figure["name"]: figure for figure in tell_apart(*args, **options)}


def test_narrow_data_are_more_likely_and_not_typical(tmp_path):
    """x of N(0, s^2) under N(0, 1): the ratio of two chi squared numbers, an F distribution."""
    d, s = 20, 0.7
    own, far = data(tmp_path, "own", gaussian(d)), data(tmp_path, "far", gaussian(d, s, seed=1))
    got = found(model_of(d), own, far)
    assert got["ood/likelihood"]["value"] == pytest.approx(1 - f.cdf(1 / s**2, d, d), abs=0.02)
    assert got["ood/likelihood"]["value"] < 0.1
    typical = got["ood/typicality"]
    entropy = d / 2 * math.log(2 * math.pi * math.e)
    assert typical["protocol"]["entropy"] == pytest.approx(entropy, rel=0.01)
    rng = np.random.default_rng(0)
    low, high = (np.abs(rng.chisquare(d, 10**6) * c / 2 - d / 2) for c in (1, s**2))
    assert typical["value"] == pytest.approx((high > low).mean(), abs=0.02)
    assert typical["references"] == {"chance": 0.5}
    assert typical["unit"] == "AUC"
    assert set(got) == {"ood/likelihood", "ood/typicality"}


def test_batches_are_judged_more_surely(tmp_path):
    d, s = 20, 0.7
    own, far = data(tmp_path, "own", gaussian(d)), data(tmp_path, "far", gaussian(d, s, seed=1))
    one, ten = (found(model_of(d), own, far, batch=m)["ood/typicality"] for m in (1, 10))
    assert one["value"] < 0.9
    assert ten["value"] > 0.99
    assert ten["protocol"]["batch"] == 10
    assert ten["protocol"]["held_out"] == N


def test_the_same_data_are_not_told_apart(tmp_path):
    own, far = data(tmp_path, "own", gaussian(5)), data(tmp_path, "far", gaussian(5, seed=1))
    for figure in found(model_of(5), own, far, background=model_of(5, 2.0)).values():
        assert figure["value"] == pytest.approx(0.5, abs=0.02)


def test_a_background_takes_away_what_both_share(tmp_path):
    """Feature 0 tells; the others are the same in both data and in both models."""
    d, shift = 200, 3.0
    own = data(tmp_path, "own", gaussian(d))
    far = data(tmp_path, "far", gaussian(d, shift=shift * np.eye(d)[0], seed=1))
    background = model_of(d, torch.tensor([3.0, *[1.0] * (d - 1)]))
    got = found(model_of(d), own, far, background=background)
    # x_0^2 against x_0^2: a noncentral F distribution of one and one degrees of freedom
    want = 1 - ncf.cdf(1, 1, 1, shift**2)
    assert got["ood/likelihood_ratio"]["value"] == pytest.approx(want, abs=0.02)
    assert got["ood/likelihood"]["value"] < want - 0.2


def test_code_lengths_are_those_of_the_closed_form(tmp_path):
    own = data(tmp_path, "own", gaussian(3, 2.0))
    got = code_lengths(model_of(3, 2.0), own, "test", background=model_of(3))
    x = torch.from_numpy(own.split("test").examples(range(N))).double()
    for lengths, scale in ((got.model, 2.0), (got.background, 1.0)):
        want = -torch.distributions.Normal(0.0, scale).log_prob(x).sum(1)
        np.testing.assert_allclose(lengths, want, rtol=1e-5)
    assert got.png is None


def images(folder, name, draw):
    return data(folder, name, lambda part: draw(np.random.default_rng(part)), bits=5)


def noisy(rng):
    return rng.integers(0, 256, (60, 8, 8), dtype=np.uint8)


def plain(rng):
    return np.full((60, 8, 8), 9, np.uint8) * rng.integers(1, 3, (60, 1, 1), dtype=np.uint8)


def test_images_are_compared_with_their_pngs(tmp_path):
    own, far = images(tmp_path, "own", noisy), images(tmp_path, "far", plain)
    torch.manual_seed(0)
    model = FlowModel(own.data_spec, bijector=ActNorm).eval()
    lengths = code_lengths(model, own, "test")
    pixels = noisy(np.random.default_rng(2))[:, None] >> 3
    np.testing.assert_allclose(lengths.png, png_nats(pixels))
    with torch.no_grad():
        bits = model.bits_per_dim(torch.from_numpy(own.split("test").examples(range(60))))
    np.testing.assert_allclose(lengths.model, bits.double() * 64 * math.log(2), rtol=1e-5)
    got = found(model, own, far)
    score = [code_lengths(model, d, "test") for d in (far, own)]
    a, b = (s.model - s.png for s in score)
    pairs = a[:, None] - b
    want = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert got["ood/complexity"]["value"] == pytest.approx(want)


def test_examples_in_the_order_of_their_classes_are_mixed(tmp_path):
    """Half of the batches would otherwise be of narrow rows and half of wide ones."""

    def sorted_rows(part):
        scales = np.repeat([0.5, math.sqrt(1.75)], N // 2)[:, None]
        return (np.random.default_rng(part).normal(size=(N, 4)) * scales).astype(np.float32)

    own, far = data(tmp_path, "own", sorted_rows), data(tmp_path, "far", gaussian(4, seed=1))
    value = found(model_of(4), own, far, batch=50)["ood/typicality"]["value"]
    assert 0.3 < value < 0.6  # of batches in the order of the file, 0.01


def test_splits_are_joined_and_training_rows_are_few(tmp_path, monkeypatch):
    own, far = data(tmp_path, "own", gaussian(2)), data(tmp_path, "far", gaussian(2, 3.0, seed=1))
    monkeypatch.setattr(module, "ENTROPY_ROWS", 10)
    protocol = found(model_of(2), own, far, split="val+test")["ood/typicality"]["protocol"]
    assert (protocol["held_out"], protocol["other"]) == (2 * N, 2 * N)
    few = np.linspace(0, N - 1, 10).round().astype(int).tolist()
    entropy = code_lengths(model_of(2), own, "train", rows=few).model.mean()
    assert protocol["entropy"] == pytest.approx(entropy, abs=1e-4)


def test_what_cannot_be_compared_is_refused(tmp_path):
    own, wide = data(tmp_path, "own", gaussian(2)), data(tmp_path, "wide", gaussian(3))
    with pytest.raises(DataError, match=r"other data: event_shape must be .* \(2,\), got \(3,\)"):
        tell_apart(model_of(2), own, wide)
    with pytest.raises(DataError, match=r"background: event_shape must be .* \(2,\), got \(3,\)"):
        tell_apart(model_of(2), own, own, background=model_of(3))
    none = model_of(2)
    none.kind = Likelihood.NONE
    with pytest.raises(NoDensity, match="must have a likelihood"):
        tell_apart(none, own, own)
    with pytest.raises(UsageError, match=f"1 to {N} examples, as many as there are, got {N + 1}"):
        tell_apart(model_of(2), own, own, batch=N + 1)
    broken = model_of(2)
    torch.nn.init.constant_(broken.density.bijector.shift, math.nan)
    with pytest.raises(CorekitError, match="must be finite on 'train'"):
        tell_apart(broken, own, own)


def spec_of(data):
    return run_spec({"version": 1, "model": {"type": "flow", "bijector": "linear"}, "data": data})


def test_other_data_are_a_file_or_those_of_a_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", a=np.zeros((9, 2, 2), np.uint8), split=np.array([0, 1, 2] * 3))
    np.savez("far.npz", images=np.ones((40, 2, 2), np.uint8))
    file = {"type": "arrays", "path": "own.npz", "array": "a", "split": "split", "bits": 3}
    own = spec_of(file)
    far = other_data(own, "far.npz")
    assert far.data.bits == 3
    assert len(build_dataset(far).split("test")) == 4
    (tmp_path / "far.yaml").write_text(
        "version: 1\nmodel: {type: flow, bijector: linear}\ndata: {type: arrays, path: far.npz}\n"
    )
    assert other_data(own, "far.yaml").data.bits == 8
    toy = spec_of({"type": "toy2d"})
    with pytest.raises(UsageError, match=r"of the run \(toy2d\) are no file, got 'far.npz'"):
        other_data(toy, "far.npz")
