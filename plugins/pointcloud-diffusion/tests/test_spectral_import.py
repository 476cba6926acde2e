"""Checkpoints of the reference that were trained with its spectral norm."""

import numpy as np
import pytest
import torch
from corekit_pointcloud_diffusion.importer import DpmImporter

from corekit.nn.spectral import SpectralLinear


@pytest.fixture
def files(golden, tmp_path):
    """A state with spectral norm in the reference's names, and one of its divided weights."""
    with np.load(golden / "small_state.npz") as archive:
        plain = dict(archive)
    rng, spectral = np.random.default_rng(0), {}
    for key, value in plain.items():
        if not (key.startswith("flow.") and key.endswith(".weight")):
            spectral[key] = value
            continue
        weight = rng.normal(size=value.shape)
        u = rng.normal(size=len(weight))
        for _ in range(3):  # not the singular vectors yet
            v = weight.T @ u / np.linalg.norm(weight.T @ u)
            u = weight @ v / np.linalg.norm(weight @ v)
        plain[key] = (weight / (u @ weight @ v)).astype("float32")
        made = {"weight_orig": weight, "weight": plain[key], "weight_u": u, "weight_v": v}
        spectral |= {key.removesuffix("weight") + k: a.astype("float32") for k, a in made.items()}
    paths = tmp_path / "spectral.npz", tmp_path / "plain.npz"
    np.savez(paths[0], **spectral)
    np.savez(paths[1], **plain)
    return paths


def test_spectral_weights_are_divided_as_the_reference_divides_them(files, load_reference):
    spectral, plain = (load_reference(path, "flow", 64).eval() for path in files)
    layers = [part for part in spectral.modules() if isinstance(part, SpectralLinear)]
    assert len(layers) == 3 * len(spectral.prior.bijector.members)
    assert all(abs(part.sigma().item() - 1) > 0.1 for part in layers)  # as trained, undivided
    z = torch.randn(5, *spectral.encoder.latent_shape)
    for got, want in zip(spectral.prior.bijector(z), plain.prior.bijector(z), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_only_such_checkpoints_get_the_option(files):
    found = [DpmImporter()(path).spec["model"]["prior"]["bijector"]["of"] for path in files]
    assert [of.get("spectral_norm", False) for of in found[0] + found[1]] == [True] * 2 + [
        False
    ] * 2
