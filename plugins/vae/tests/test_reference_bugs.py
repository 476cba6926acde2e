"""What is wrong in PyTorch-VAE is right here: bugs B1 to B8 and B11 of its list, one test each."""

import pytest
import torch
from corekit_vae.importers.pytorch_vae import PytorchVaeImporter
from corekit_vae.likelihoods.errors import SquaredError
from corekit_vae.likelihoods.gaussian import Gaussian
from corekit_vae.networks.conv import ConvDecoder, ConvEncoder
from corekit_vae.networks.resnet import ResnetEncoder
from corekit_vae.posteriors.diagonal import DiagonalGaussianHead
from corekit_vae.specs.encoders import ConvEncoderSpec

from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, UsageError
from corekit.flows.prior import StandardNormal
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch, Condition
from corekit.latent.elbo import WeightedElbo
from corekit.latent.model import LatentModel

SHAPE, WIDTHS = (3, 16, 16), (4, 6)


def decoded(decoder, z):
    """E[x | z]."""
    return decoder.mean(Condition(vector=z))


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def vanilla(bound=10.0, **loss):
    """A small VanillaVAE."""

    def head(feature_shape, latent_shape):
        return DiagonalGaussianHead(feature_shape, latent_shape, max_log_var=bound)

    def encoder(event_shape):
        return ConvEncoder(event_shape, widths=WIDTHS, latent_dim=3, posterior=head)

    def decoder(event_shape, latent_shape):
        how = {"likelihood": SquaredError, "widths": WIDTHS}
        return ConvDecoder(event_shape, latent_shape, **how)

    def prior(event_shape, condition):
        return StandardNormal(event_shape)

    parts = {"encoder": encoder, "prior": prior, "decoder": decoder}
    return LatentModel(DataSpec(SHAPE), **parts, loss=WeightedElbo(**loss))


def test_the_widths_of_the_caller_stay_as_they_are():
    """PyTorch-VAE reverses its list in place: a second model of it is another."""
    widths = [4, 6, 8]
    for _ in range(2):
        encoder = ConvEncoder((3, 16, 16), widths=widths)
        decoder = ConvDecoder((3, 16, 16), encoder.latent_shape, likelihood=Gaussian, widths=widths)
    assert widths == [4, 6, 8]
    assert decoded(decoder, encoder(torch.randn(2, 3, 16, 16)).mode).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_last_width_and_the_size_are_free(size):
    """PyTorch-VAE views 512 channels of 2 x 2 whatever it was told."""
    encoder = ConvEncoder((3, size, size), widths=(4, 4, 4, 4, 7), latent_dim=5)
    decoder = ConvDecoder((3, size, size), (5,), likelihood=Gaussian, widths=(4, 4, 4, 4, 7))
    assert decoded(decoder, encoder(torch.randn(2, 3, size, size)).mode).shape[2:] == (size, size)


def test_a_decoder_gives_the_channels_of_the_data():
    """PyTorch-VAE gives 3, and trains on 1 by broadcasting."""
    decoder = ConvDecoder((1, 8, 8), (3,), likelihood=Gaussian, widths=(4,)).eval()
    assert decoded(decoder, torch.randn(2, 3)).shape == (2, 1, 8, 8)
    with pytest.raises(ShapeError, match=r"got \(2, 3, 8, 8\)"):
        decoder.loss(torch.randn(2, 3, 8, 8), Condition(vector=torch.randn(2, 3)))


def test_unknown_options_are_refused():
    """PyTorch-VAE takes any keyword and does nothing with it."""
    with pytest.raises(TypeError, match="hiden"):
        ResnetEncoder((3, 8, 8), hiden=3)
    with pytest.raises(ValueError, match="did you mean 'widths'"):
        ConvEncoderSpec(width=(3,))


def test_a_kl_is_reported_as_it_is_and_is_part_of_the_loss():
    """PyTorch-VAE reports it negated."""
    terms = vanilla(kl_weight=0.5)(Batch(torch.rand(4, *SHAPE)), draws=draws())
    assert bool((terms.terms["kl"] > 0).all())
    assert terms.units["kl"] == "nats"
    whole = terms.terms["reconstruction_mse"] + 0.5 * terms.terms["kl"]
    torch.testing.assert_close(terms.total, whole)


def test_the_weight_of_the_kl_is_an_option_with_a_default():
    """In PyTorch-VAE it is an argument of every call of the loss; without it, a KeyError."""
    assert WeightedElbo().kl_weight == 1.0
    assert PytorchVaeImporter().kl_weight == 2.5e-4
    assert vanilla()(Batch(torch.rand(2, *SHAPE)), draws=draws()).total.shape == (2,)


def test_one_row_keeps_its_axis():
    """IWAE and MIWAE of PyTorch-VAE squeeze it away."""
    model = vanilla()
    assert model(Batch(torch.rand(1, *SHAPE)), draws=draws()).total.shape == (1,)
    model.eval()
    assert model.sample(1, generator=draws()).shape == (1, *SHAPE)
    assert model.decode(model.encode(torch.rand(1, *SHAPE))).shape == (1, *SHAPE)


def test_log_variances_are_bounded_softly():
    """Unbounded ones made a loss of 1e11 at the second step of Adam in PyTorch-VAE."""
    head, free = (DiagonalGaussianHead((2,), (3,), max_log_var=b) for b in (10.0, None))
    free.load_state_dict(head.state_dict())
    far, near = torch.full((1, 2), 1e4), torch.full((1, 2), 0.1)
    assert head(far).log_var.abs().max() <= 10 < free(far).log_var.abs().max()
    assert head(far).mu.equal(free(far).mu)
    torch.testing.assert_close(head(near).log_var, free(near).log_var, rtol=0, atol=0.01)
    for bound in (0.0, -1.0):
        with pytest.raises(UsageError, match=f"max_log_var must be positive, got {bound}"):
            DiagonalGaussianHead((2,), (3,), max_log_var=bound)


def test_wide_weights_of_log_variances_do_not_blow_up_the_loss():
    """With the learning rate of PyTorch-VAE's configuration; its own does."""
    worst = {}
    for bound in (10.0, None):
        torch.manual_seed(0)
        model, losses = vanilla(bound, kl_weight=2.5e-4), []
        with torch.no_grad():
            for parameter in model.encoder.head.log_var.parameters():
                parameter.mul_(100)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for step in range(3):
            optimizer.zero_grad()
            loss = model(Batch(torch.rand(4, *SHAPE)), draws=draws(step)).total.mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        worst[bound] = max(losses)
    assert worst[10.0] < 20
    assert worst[None] > 1e6
