"""Checkpoints of PyTorch-VAE and pythae become models that compute the same."""

import json
from itertools import pairwise

import pytest
import torch
from corekit_vae.importers.pythae import PythaeImporter
from corekit_vae.importers.pytorch_vae import PytorchVaeImporter
from torch import nn
from torch.nn import functional as F

from corekit.build import build
from corekit.data_spec import DataSpec, Support, pixel_spec
from corekit.errors import CheckpointError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Batch
from corekit.spec import run_spec
from corekit.testing import check_component


@pytest.mark.parametrize("name", ["pytorch_vae", "pythae"])
def test_importers_keep_the_promises_of_their_kind(name):
    found = check_component("importer", f"vae.{name}")
    assert not [result for result in found if not result.ok]


class Skeleton(nn.Module):
    """The networks that most models of PyTorch-VAE share, under its names."""

    def __init__(self, widths=(4, 6), latent=3, channels=3, head=("fc_mu", "fc_var")):
        super().__init__()
        up = [*reversed(widths)]
        pairs = zip((channels, *widths), widths, strict=False)
        self.encoder = nn.Sequential(*(_layer(nn.Conv2d(a, b, 3, 2, 1)) for a, b in pairs))
        for name in head:
            self.add_module(name, nn.Linear(4 * widths[-1], latent))
        self.decoder_input = nn.Linear(latent, 4 * widths[-1])
        pairs = pairwise(up)
        self.decoder = nn.Sequential(*(_layer(_up(a, b)) for a, b in pairs))
        last = nn.Conv2d(widths[0], 3, 3, padding=1)
        self.final_layer = nn.Sequential(*_layer(_up(up[-1], up[-1])), last, nn.Tanh())
        self.eval()

    def code(self, x, head):
        return self.get_submodule(head)(self.encoder(x).flatten(1))

    def decode(self, z):
        h = self.decoder_input(z)
        return self.final_layer(self.decoder(h.reshape(len(z), -1, 2, 2)))


def _up(a, b):
    return nn.ConvTranspose2d(a, b, 3, 2, 1, output_padding=1)


def _layer(conv):
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.LeakyReLU())


def saved(state, folder, **beside):
    path = folder / "last.ckpt"
    torch.save({"epoch": 3, "state_dict": state, **beside}, path)
    return path


def built(imported, data):
    """The model of a spec, with the weights."""
    model = build(run_spec(dict(imported.spec)), data=data).eval()
    model.load_state_dict(dict(imported.state))
    return model


def test_a_checkpoint_of_lightning_is_read(tmp_path):
    theirs = Skeleton()
    state = {f"model.{k}": v for k, v in theirs.state_dict().items()}
    imported = PytorchVaeImporter(data_path="faces")(saved(state, tmp_path))
    assert imported.spec["data"]["size"] == 8
    assert imported.spec["data"]["path"] == "faces"
    assert imported.spec["model"]["loss"]["kl_weight"] == 2.5e-4
    model = built(imported, pixel_spec((3, 8, 8), (0.0, 1.0)))
    x, z = torch.rand(2, 3, 8, 8), torch.randn(2, 3)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x), theirs.code(x, "fc_mu"))
        torch.testing.assert_close(model.decode(z), theirs.decode(z))


def test_what_a_model_has_beside_the_skeleton_is_left_out_and_said(tmp_path):
    state = Skeleton().state_dict()
    more = ("discriminator.0.weight", "feature_network.features.0.bias", "embed_pseudo.0.weight")
    for key in more:
        state[key] = torch.zeros(2)
    imported = PytorchVaeImporter()(saved(state, tmp_path))
    assert imported.dropped == more
    assert len(imported.notes) == 3
    built(imported, pixel_spec((3, 8, 8), (0.0, 1.0)))


def test_an_encoder_without_noise_is_a_point_if_it_is_said_to_be(tmp_path):
    """The weights of a WAE and of a categorical VAE have the same names and shapes."""
    theirs = Skeleton(head=("fc_z",))
    path = saved(theirs.state_dict(), tmp_path)
    with pytest.raises(CheckpointError, match=r"no 'fc_mu.weight'.*deterministic=true"):
        PytorchVaeImporter()(path)
    imported = PytorchVaeImporter(deterministic=True)(path)
    assert imported.spec["model"]["loss"]["kl_weight"] == 0
    assert "distance of latents to the prior" in imported.notes[0]
    model, x = built(imported, pixel_spec((3, 8, 8), (0.0, 1.0))), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x), theirs.code(x, "fc_z"))


def test_a_model_that_compared_one_channel_with_three_is_refused(tmp_path):
    path = saved(Skeleton(channels=1).state_dict(), tmp_path)
    with pytest.raises(CheckpointError, match=r"as many channels as it takes, got 3 and 1"):
        PytorchVaeImporter()(path)


@pytest.mark.parametrize("key", ["ladders.0.fc_mu.weight", "fc_z.weight", "encoder.0.weight"])
def test_other_models_of_pytorch_vae_are_refused(tmp_path, key):
    state = Skeleton().state_dict()
    state[key] = torch.zeros(3, 24)
    if key == "fc_z.weight":
        del state["fc_mu.weight"]
    with pytest.raises(CheckpointError, match="with the skeleton of VanillaVAE"):
        PytorchVaeImporter()(saved(state, tmp_path))


class Perceptrons(nn.Module):
    """The default networks of pythae, under its names."""

    def __init__(self, pixels=12, latent=2, hidden=7, *, noisy=True):
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        first = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU())
        self.encoder.layers = nn.ModuleList([first])
        self.encoder.embedding = nn.Linear(hidden, latent)
        if noisy:
            self.encoder.log_var = nn.Linear(hidden, latent)
        first = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU())
        last = nn.Sequential(nn.Linear(hidden, pixels), nn.Sigmoid())
        self.decoder.layers = nn.ModuleList([first, last])

    def forward(self, x, eps, loss):
        """Reconstruction, and their loss of each row: half the squares, or the cross-entropy."""
        h = self.encoder.layers[0](x.flatten(1))
        mu, log_var = self.encoder.embedding(h), self.encoder.log_var(h)
        z = mu + (0.5 * log_var).exp() * eps
        recon = self.decoder.layers[1](self.decoder.layers[0](z))
        if loss == "mse":
            error = 0.5 * (recon - x.flatten(1)).square().sum(1)
        else:
            error = F.binary_cross_entropy(recon, x.flatten(1), reduction="none").sum(1)
        return recon, error, -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(1)


def folder_of(model, folder, **config):
    """As pythae saves it."""
    torch.save({"model_state_dict": model.state_dict()}, folder / "model.pt")
    (folder / "model_config.json").write_text(json.dumps({"latent_dim": 2, **config}))
    return folder


@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_a_model_of_pythae_computes_the_same(tmp_path, loss, beta):
    theirs, name = Perceptrons(), "VAEConfig" if beta == 1 else "BetaVAEConfig"
    config = {"name": name, "reconstruction_loss": loss, "beta": beta}
    imported = PythaeImporter()(folder_of(theirs, tmp_path, **config))
    model = built(imported, DataSpec((3, 2, 2), support=Support.UNIT_INTERVAL))
    x, eps = torch.rand(5, 3, 2, 2), torch.randn(5, 2)
    with torch.no_grad():
        recon, error, kl = theirs(x, eps, loss)
        terms = model(Batch(x), draws=GivenDraws({"z": eps}))
        z = model.encoder(x).rsample_and_log_prob(GivenDraws({"z": eps}))[0]
        made = model.decoder.mean(model.beside(z, None))
    torch.testing.assert_close(made.flatten(1), recon)
    scale = 2 if loss == "mse" else 1
    torch.testing.assert_close(terms.total, scale * (error + beta * kl))
    assert ("twice" in imported.notes[0]) == (loss == "mse")


def test_an_auto_encoder_of_pythae_has_no_prior(tmp_path):
    theirs = Perceptrons(noisy=False)
    imported = PythaeImporter()(folder_of(theirs, tmp_path, name="AEConfig") / "model.pt")
    assert imported.spec["model"]["prior"] is None
    model, x = built(imported, DataSpec((12,))), torch.rand(3, 12)
    with torch.no_grad():
        found = theirs.encoder.embedding(theirs.encoder.layers[0](x))
        torch.testing.assert_close(model.encode(x), found)
    imported = PythaeImporter()(folder_of(theirs, tmp_path, name="WAE_MMD_Config"))
    assert imported.spec["model"]["prior"] == "normal"


def test_a_pickled_network_is_never_opened(tmp_path):
    """Opening this one would write a file."""
    state = {"encoder.convs.0.weight": torch.zeros(2), **Perceptrons().state_dict()}
    torch.save({"model_state_dict": state}, tmp_path / "model.pt")

    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "opened"), "w")

    torch.save(Bomb(), tmp_path / "encoder.pkl")
    with pytest.raises(CheckpointError, match=r"got encoder\.convs\.0\.weight\. .*not opened here"):
        PythaeImporter()(tmp_path)
    torch.save(Bomb(), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="must be a state dict"):
        PythaeImporter()(tmp_path)
    assert not (tmp_path / "opened").exists()


def test_a_discriminator_of_pythae_is_left_out_and_said(tmp_path):
    theirs = Perceptrons()
    theirs.discriminator = nn.Linear(2, 1)
    imported = PythaeImporter()(folder_of(theirs, tmp_path))
    assert imported.dropped == ("discriminator.weight", "discriminator.bias")
    assert "discriminator" in imported.notes[-1]


@pytest.mark.parametrize(("text", "says"), [("{", "must be a JSON file"), ("[1]", "got a list")])
def test_a_configuration_that_is_none_is_refused(tmp_path, text, says):
    folder = folder_of(Perceptrons(), tmp_path)
    (folder / "model_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=says):
        PythaeImporter()(folder)
