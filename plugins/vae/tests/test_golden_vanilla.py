"""VanillaVAE and ConditionalVAE of PyTorch-VAE, number by number: golden/vae, in full."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from corekit_vae.importers.pytorch_vae import PytorchVaeImporter, renamed
from safetensors.torch import save_file
from torch import Tensor

from corekit.build import build
from corekit.data_spec import pixel_spec
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Batch, Condition
from corekit.latent.model import LatentModel
from corekit.spec import run_spec

EXACT = {torch.float64: 1e-12, torch.float32: 2e-5}


class Golden(NamedTuple):
    """One golden file."""

    arrays: Mapping[str, Tensor]
    model: LatentModel

    def batch(self, dtype: torch.dtype = torch.float64) -> Batch:
        """Its data, with their labels where it has some."""
        labels = self.arrays.get("labels")
        told = None if labels is None else Condition(vector=labels.to(dtype))
        return Batch(self.arrays["x"].to(dtype), told)

    def noise(self, name: str = "eps") -> Tensor:
        """The noise of a draw of z."""
        return self.arrays[name]


def under(arrays: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The arrays whose names start so, without that."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def load(file: Path, folder: Path) -> Golden:
    """A golden file, its weights imported by way of a safetensors file in ``folder``."""
    with np.load(file) as archive:
        arrays = {key: torch.from_numpy(np.array(archive[key])) for key in archive.files}
    saved = folder / "reference.safetensors"
    save_file(under(arrays, "sd/"), saved)
    imported = PytorchVaeImporter(kl_weight=float(arrays["M_N"]))(saved)
    labels = arrays.get("labels")
    told = {} if labels is None else {"vector": tuple(labels.shape[1:])}
    data = pixel_spec(tuple(arrays["x"].shape[1:]), (0.0, 1.0), condition_shapes=told)
    model = build(run_spec(dict(imported.spec)), data=data)
    model.load_state_dict(dict(imported.state))
    return Golden(arrays, model)


def wide(model: LatentModel, dtype: torch.dtype = torch.float64) -> LatentModel:
    """The model in another precision, and the weight of its KL with it."""
    model.to(dtype).loss.beta.fill_(model.loss.kl_weight)
    return model


def given(*noise: Tensor) -> GivenDraws:
    """Draws of z that are given."""
    return GivenDraws({"z": list(noise)})


@pytest.fixture(params=["vanilla_vae", "conditional_vae"])
def golden(request, golden_root, tmp_path):
    return load(golden_root / "vae" / f"{request.param}.npz", tmp_path)


def close(found, wanted, dtype=torch.float64):
    torch.testing.assert_close(found.to(torch.float64), wanted, rtol=0, atol=EXACT[dtype])


def expect_pass(golden, mode, dtype):
    """One pass: posterior, draw, reconstruction and the three numbers of the loss."""
    model, batch = wide(golden.model, dtype), golden.batch(dtype)
    of = under(golden.arrays, f"{mode}/")
    posterior = model.encoder(batch.x, batch.condition)
    close(posterior.mu, of["mu"], dtype)
    close(posterior.log_var, of["log_var"], dtype)
    z, _ = posterior.rsample_and_log_prob(given(golden.noise()))
    if "z" in of:
        close(z, of["z"], dtype)
    beside = model.beside(z, model.given_of(batch.condition))
    close(model.decoder.mean(beside), of["recon"], dtype)
    return model, batch, of


def expect_losses(terms, of, dtype):
    """theirs reports the KL negated."""
    assert terms.units["kl"] == "nats"
    close(terms.total.mean(), of["loss/loss"], dtype)
    close(terms.terms["reconstruction_mse"].mean(), of["loss/Reconstruction_Loss"], dtype)
    close(-terms.terms["kl"].mean(), of["loss/KLD"], dtype)


@pytest.mark.parametrize("dtype", EXACT)
def test_evaluation_equals_the_reference(golden, dtype):
    golden.model.eval()
    with torch.no_grad():
        model, batch, of = expect_pass(golden, "eval", dtype)
        expect_losses(model(batch, draws=given(golden.noise())), of, dtype)


def test_samples_equal_the_reference(golden):
    model = golden.model.double().eval()
    told = golden.batch().condition
    z = golden.noise("z_prior").double()
    with torch.no_grad():
        found = model.decode(z, told)
        with model.frozen():
            folded = model.decode(z, told)
    close(found, golden.arrays["eval/sample"])
    close(folded, golden.arrays["eval/sample"])


@pytest.mark.parametrize("dtype", EXACT)
def test_a_pass_in_training_equals_the_reference(golden, dtype):
    expect_pass(golden, "train", dtype)


def test_gradients_and_running_statistics_equal_the_reference(golden):
    model, batch = wide(golden.model), golden.batch()
    terms = model(batch, draws=given(golden.noise()))
    expect_losses(terms, under(golden.arrays, "train/"), torch.float64)
    terms.total.mean().backward()
    parameters, state = dict(model.named_parameters()), model.state_dict()
    for name, norm in under(golden.arrays, "train/gradnorm/").items():
        close(parameters[renamed("", name, 5)].grad.norm(), norm)
    for name, gradient in under(golden.arrays, "train/grad/").items():
        close(parameters[renamed("", name, 5)].grad, gradient)
    after = under(golden.arrays, "train/after/")
    assert len(after) == 20
    for name, value in after.items():
        close(state[renamed("", name, 5)], value)


def test_ten_steps_of_adam_equal_the_reference(golden):
    model, batch = wide(golden.model), golden.batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    steps = zip(golden.noise("adam/eps"), golden.arrays["adam/loss_recon_kldneg"], strict=True)
    for eps, (loss, reconstruction, negative_kl) in steps:
        optimizer.zero_grad()
        terms = model(batch, draws=given(eps))
        expect = {"loss": loss, "Reconstruction_Loss": reconstruction, "KLD": negative_kl}
        expect_losses(terms, {f"loss/{k}": v for k, v in expect.items()}, torch.float32)
        terms.total.mean().backward()
        optimizer.step()


def test_the_names_of_all_parameters_have_their_gradient_norm(golden):
    names = {renamed("", name, 5) for name in under(golden.arrays, "train/gradnorm/")}
    assert names == {name for name, _ in golden.model.named_parameters()}


def test_another_condition_gives_another_posterior_and_another_picture(golden_root, tmp_path):
    golden = load(golden_root / "vae" / "conditional_vae.npz", tmp_path)
    model, batch = golden.model.double().eval(), golden.batch()
    other = Condition(vector=1 - batch.condition.vector)
    z = golden.noise("z_prior").double()
    assert not torch.allclose(model.encode(batch.x, other), model.encode(batch.x, batch.condition))
    assert not torch.allclose(model.decode(z, other), model.decode(z, batch.condition))
