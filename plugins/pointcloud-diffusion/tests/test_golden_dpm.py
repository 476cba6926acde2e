"""The three models of diffusion-point-cloud, number by number, through the importer."""

import argparse

import numpy as np
import pytest
import torch
from corekit_pointcloud_diffusion.importer import DpmImporter, _renamed
from corekit_pointcloud_diffusion.reference import dpm_truncated_normal

from corekit.diffusion.samplers import Ancestral
from corekit.errors import CheckpointError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Batch, Condition

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SHORT = {"flow": "flow", "gaussian": "gaussian", "autoencoder": "ae"}


def tensor(array):
    return torch.from_numpy(np.array(array))


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


def close(got, want, **other):
    torch.testing.assert_close(
        got, tensor(want).to(got.dtype).reshape(got.shape), **(TOLERANCE | other)
    )


@pytest.fixture
def small(golden, load_reference):
    return lambda kind: load_reference(golden / "small_state.npz", kind, 64)


def test_encoder_in_eval_mode(small, io):
    posterior = small("flow").eval().encoder(tensor(io["x"]))
    close(posterior.mu, io["enc/mu_eval"])
    close(posterior.log_var, io["enc/logvar_eval"])
    wide = small("flow").double().eval().encoder(tensor(io["x"]).double())
    close(wide.mu, io["enc/mu_eval_f64"], rtol=1e-10, atol=1e-10)


def test_encoder_in_train_mode_and_its_running_statistics(small, io):
    encoder = small("flow").train().encoder
    posterior = encoder(tensor(io["x"]))
    close(posterior.mu, io["enc/mu_train"], atol=5e-5)
    close(posterior.log_var, io["enc/logvar_train"], atol=5e-5)
    state = encoder.state_dict()
    prefix = "enc/after_one_train_forward/"
    keys = [k.removeprefix(prefix) for k in io if k.startswith(prefix)]
    assert len(keys) == 24
    for key in keys:
        close(state[_renamed(key).removeprefix("encoder.")], io[prefix + key])


def test_encoder_ignores_the_order_of_points(small, io):
    encoder = small("flow").eval().encoder
    x = tensor(io["x"])
    close(encoder(x[:, torch.randperm(64)]).mu, encoder(x).mu.detach().numpy())


def test_flow_and_its_log_determinant_layer_by_layer(small, io):
    bijector = small("flow").prior.bijector
    z = tensor(io["flow/z"])
    w, logdet = bijector(z)
    close(w, io["flow/w"])
    close(logdet, -io["flow/delta_logp"])
    wide = small("flow").double().prior.bijector(z.double())
    close(wide[1], io["flow/log_abs_det_autograd_f64"], rtol=1e-10, atol=1e-10)
    y = z
    for i, layer in enumerate(bijector):
        y, _ = layer(y)
        close(y, io[f"flow/layer{i}_out"])


def test_inverse_flow(small, io):
    z, logdet = small("flow").prior.bijector.inverse(tensor(io["flow/inv_w"]))
    close(z, io["flow/inv_z"])
    close(logdet, -io["flow/inv_delta_logp"])


@pytest.mark.parametrize("residual", [True, False])
def test_denoiser(small, io, residual):
    model = small("flow")
    denoiser, schedule = model.decoder.denoiser, model.decoder.schedule
    denoiser.residual = residual
    level = schedule.level(tensor(io["net/t"]) - 1)
    close(level.beta, io["net/beta"])
    out = denoiser(tensor(io["net/x"]), level, Condition(vector=tensor(io["net/context"])))
    close(out, io["net/out_residual" if residual else "net/out_no_residual"])


def draws_of(io, kind):
    given = {"t": tensor(io["loss/t"]) - 1, "eps": tensor(io["loss/e_rand"])}
    return GivenDraws(given if kind == "autoencoder" else given | {"z": tensor(io["loss/eps_z"])})


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_loss_its_terms_and_every_gradient(small, io, kind, mode):
    name = f"loss/{SHORT[kind]}_{mode}"
    model = small(kind).train(mode == "train")
    terms = model(Batch(tensor(io["x"])), draws=draws_of(io, kind))
    loss = terms.total.mean()
    slack = {"atol": 5e-5} if mode == "train" else {}
    close(loss, io[f"{name}/total"], **slack)
    if kind != "autoencoder":
        close(terms.terms["negative_entropy"].mean(), io[f"{name}/loss_entropy"], **slack)
        close(terms.terms["cross_entropy"].mean(), io[f"{name}/loss_prior"], **slack)
        close(terms.terms["reconstruction_mse"].mean(), io[f"{name}/loss_recons"], **slack)
    if kind == "flow":
        close(terms.batch_terms["z_mean"], io[f"{name}/z_mean"], **slack)
        close(terms.batch_terms["z_abs_max"], io[f"{name}/z_mag"], **slack)
        close(terms.batch_terms["z_std"], io[f"{name}/z_var"], **slack)
    loss.backward()
    check_gradients(model, io, name)


def check_gradients(model, archive, name):
    """Gradient norms of the reference's parameters, grouped as ours are."""
    theirs = dict(
        zip(archive[f"{name}/grad_keys"].tolist(), archive[f"{name}/grad_l2"], strict=True)
    )
    theirs = {k: v for k, v in theirs.items() if np.isfinite(v)}
    parameters = dict(model.named_parameters())
    seen = set()
    for key, norm in theirs.items():
        ours = _renamed(key)
        if ours is not None:
            seen.add(ours)
            close(parameters[ours].grad.norm().double(), np.float64(norm), rtol=2e-4, atol=2e-5)
    for hyper, ours in (
        ("_hyper_gate.weight", "gate.weight"),
        ("_hyper_bias.weight", "shift.weight"),
    ):
        total = sum(v**2 for k, v in theirs.items() if k.endswith(hyper)) ** 0.5
        got = parameters[f"decoder.denoiser.{ours}"].grad.norm().double()
        close(got, np.float64(total), rtol=2e-4, atol=2e-5)
        seen.add(f"decoder.denoiser.{ours}")
    assert set(parameters) - seen == {"decoder.denoiser.gate.bias"}


@pytest.mark.parametrize("flexibility", ["0.0", "0.5", "1.0"])
def test_samples(small, io, flexibility):
    sampler = Ancestral(flexibility=float(flexibility))
    noise = [tensor(io["sample/noise"][t]) for t in range(20, 1, -1)]
    given = {"base": tensor(io["sample/w"]), "x_T": tensor(io["sample/x_T"]), "noise": noise}
    for kind in ("flow", "gaussian"):
        x = small(kind).eval().sample(4, generator=GivenDraws(given), sampler=sampler)
        close(x, io[f"sample/{kind}_flex{flexibility}"])


def test_latent_of_the_samples(small, io):
    z = small("flow").eval().prior.sample(4, generator=GivenDraws({"base": tensor(io["sample/w"])}))
    close(z, io["sample/flow_z"])


def test_trajectory_of_the_autoencoder(small, io):
    steps = []
    noise = [tensor(io["sample/noise"][t]) for t in range(20, 1, -1)]
    given = GivenDraws({"x_T": tensor(io["sample/x_T"]), "noise": noise})
    # The reference decodes this w itself.
    small("autoencoder").eval().decode(
        tensor(io["sample/w"]),
        generator=given,
        sampler=Ancestral(flexibility=0.5),
        callback=lambda step, x, prediction: steps.append(x.clone()),
    )
    close(torch.stack(steps), io["sample/ae_traj_flex0.5"][19::-1])


def test_truncated_normal_of_the_reference(io):
    draws = tensor(io["trunc/tmp"])
    before = draws.clone()
    close(dpm_truncated_normal(draws), io["trunc/out"])
    assert torch.equal(draws, before)


def test_constant_of_the_prior_is_right_unless_asked_for(golden, io, small):
    def build(reference_constant):
        path = golden / "small_state.npz"
        imported = DpmImporter(reference_constant=reference_constant)(path)
        return imported.spec["model"]["prior"]["base"]["type"]

    assert (build(False), build(True)) == ("normal", "pointcloud.dpm_normal")
    model = small("flow").eval()
    z = tensor(io["loss/flow_eval/z"])
    close(
        model.prior.log_prob(z).value,
        io["loss/flow_eval/log_pw_correct"] - io["loss/flow_eval/delta_log_pw"],
    )
    offset = model.prior.log_prob(z).value + model.prior.loss(z).total
    close(-offset, np.full(4, io["loss/constant_offset_reference_minus_correct"]))


def test_pt_file_with_its_arguments(golden, tmp_path):
    archive = arrays(golden / "small_state.npz")
    state = {k: tensor(archive[k]) for k in archive}
    args = argparse.Namespace(
        model="flow",
        kl_weight=0.01,
        residual=False,
        flexibility=0.5,
        categories=["airplane"],
        scale_mode="shape_bbox",
        sample_num_points=64,
        dataset_path="x.hdf5",
    )
    torch.save(
        {"args": args, "state_dict": state, "others": {"optimizer": {}, "scheduler": {}}},
        tmp_path / "GEN.pt",
    )
    spec = DpmImporter()(tmp_path / "GEN.pt").spec
    assert spec["model"]["loss"]["kl_weight"] == 0.01
    assert spec["model"]["decoder"]["denoiser"]["residual"] is False
    assert spec["model"]["decoder"]["sampler"]["flexibility"] == 0.5
    assert spec["data"] == {
        "type": "pointcloud.hdf5",
        "path": "x.hdf5",
        "categories": ["airplane"],
        "points": 64,
        "scale": "shape_bbox",
    }


class Payload:
    """Something a pickle would run."""

    def __reduce__(self):
        return (print, ("ran code",))


def test_pt_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"state_dict": Payload()}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="tensors and plain arguments"):
        DpmImporter()(tmp_path / "bad.pt")
    assert "ran code" not in capsys.readouterr().out


def test_weights_without_arguments_must_be_told_apart(golden, tmp_path):
    archive = arrays(golden / "small_state.npz")
    np.savez(tmp_path / "x.npz", **{k: archive[k] for k in archive if not k.startswith("flow.")})
    with pytest.raises(CheckpointError, match="--set model=gaussian"):
        DpmImporter()(tmp_path / "x.npz")


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"got no 'encoder.conv1.weight'"):
        DpmImporter()(tmp_path / "x.npz")
