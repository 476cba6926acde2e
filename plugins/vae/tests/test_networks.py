"""Encoders and decoders: any size, any channels, and what folding may change."""

import pytest
import torch
from corekit_vae.likelihoods.bernoulli import Bernoulli
from corekit_vae.likelihoods.gaussian import Gaussian
from corekit_vae.likelihoods.levels import DiscretizedLogistic
from corekit_vae.networks.conv import ConvDecoder, ConvEncoder
from corekit_vae.networks.kl import KlDecoder, KlEncoder
from corekit_vae.networks.kl_blocks import Attention, Halve
from corekit_vae.networks.mlp import MlpDecoder, MlpEncoder
from corekit_vae.networks.normed_conv import NormedConv
from corekit_vae.networks.resnet import ResnetDecoder, ResnetEncoder
from corekit_vae.networks.strided import ResidualBlock
from corekit_vae.posteriors.point import PointHead
from corekit_vae.specs.decoders import KlDecoderSpec
from corekit_vae.specs.encoders import ConvEncoderSpec, KlEncoderSpec, MlpEncoderSpec
from torch import nn

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.frozen import frozen
from corekit.interfaces.records import Condition

KL = {"blocks": 1, "groups": 2}
ODD = [(1, 2, 2), (3, 8, 8), (1, 9, 13), (4, 28, 30), (3, 130, 11)]
PAIRS = [
    *(pytest.param(ConvEncoder, ConvDecoder, {}, shape, id=f"conv-{shape}") for shape in ODD),
    pytest.param(ResnetEncoder, ResnetDecoder, {"blocks": 1}, (3, 9, 20), id="resnet"),
    pytest.param(KlEncoder, KlDecoder, KL, (3, 9, 20), id="kl"),
]


def decoded(decoder, z):
    """E[x | z]."""
    return decoder.mean(Condition(vector=z))


@pytest.mark.parametrize(("encoder", "decoder", "options", "shape"), PAIRS)
def test_images_of_any_size_come_back_in_their_size(encoder, decoder, options, shape):
    options = {"widths": (4,) * (4 if options else 6), **options}
    to = encoder(shape, **options).eval()
    back = decoder(shape, to.latent_shape, likelihood=Gaussian, **options).eval()
    with torch.no_grad():
        z = to(torch.randn(2, *shape)).mode
        assert decoded(back, z).shape == (2, *shape)


def test_every_size_has_its_bottleneck_by_arithmetic():
    """Sizes 8 to 130: the spec, without torch, knows what the convolutions make."""
    for size in range(8, 131):
        h = torch.zeros(1, 1, size, 8, device="meta")
        for _ in range(5):
            h = nn.Conv2d(1, 1, 3, 2, 1, device="meta")(h)
        spec = ConvEncoderSpec(latent_channels=2)
        assert spec.shape((1, size, 8)) == (2, *h.shape[2:])


def test_a_latent_may_be_an_image():
    encoder = ConvEncoder((3, 20, 12), widths=(4, 6), latent_channels=2, posterior=PointHead)
    z = encoder(torch.randn(2, 3, 20, 12)).mode
    assert encoder.latent_shape == (2, 5, 3)
    assert z.shape == (2, 2, 5, 3)
    assert isinstance(encoder.head.z, nn.Conv2d)  # local: a pixel of z sees no other feature
    start = ConvDecoder((3, 20, 12), (2, 5, 3), likelihood=Gaussian, widths=(4, 6)).body[0]
    assert isinstance(start, nn.Conv2d)


def test_both_forms_of_latent_at_once_are_refused():
    for make in (ConvEncoder, lambda shape, **how: ConvEncoderSpec(**how).shape(shape)):
        with pytest.raises(ShapeError, match=r"latent_dim must be left out .* got 3 and 2"):
            make((3, 8, 8), latent_dim=3, latent_channels=2)


@pytest.mark.parametrize("make", [ConvEncoder, ResnetEncoder, KlEncoder])
def test_data_that_are_no_images_are_refused(make):
    with pytest.raises(ShapeError, match=r"must be an image .* got \(5,\)\. Use vae\.mlp"):
        make((5,))


def test_an_image_too_small_for_its_halvings_is_refused():
    """By spec and class of the one network that rounds down."""
    makers = (
        KlEncoder,
        lambda shape: KlEncoderSpec().shape(shape),
        lambda shape: KlDecoderSpec().shape(shape, (4,)),
        lambda shape: KlDecoder(shape, (4,), likelihood=Gaussian),
    )
    for make in makers:
        with pytest.raises(ShapeError, match=r"at least 8 for 4 widths, got \(7, 64\)"):
            make((3, 7, 64))


def test_a_likelihood_that_wants_no_image_is_refused():
    class Odd(Gaussian):
        def __init__(self, event_shape):
            super().__init__(event_shape)
            self.parameter_shape = (5,)

    with pytest.raises(ShapeError, match=r"parameter_shape is \(5,\)\. Use vae\.mlp"):
        ConvDecoder((1, 8, 8), (3,), likelihood=Odd, widths=(4,))


def test_a_likelihood_gets_as_many_channels_as_it_wants():
    for likelihood in (Bernoulli, DiscretizedLogistic):
        for make in (ConvDecoder, KlDecoder):
            decoder = make((2, 8, 8), (3,), likelihood=likelihood, widths=(4, 4))
            found = decoder.parameters_of(torch.randn(2, 3))
            assert found.shape == (2, *decoder.likelihood.parameter_shape)
        shape = MlpDecoder((2, 3), (3,), likelihood=likelihood).parameters_of(torch.zeros(2, 3))
        assert shape.shape == (2, *likelihood((2, 3)).parameter_shape)


def test_a_perceptron_without_hidden_layers_is_linear():
    encoder = MlpEncoder((5, 2), latent_dim=3, hidden=())
    decoder = MlpDecoder((5, 2), (3,), likelihood=Gaussian, hidden=())
    maps = (
        (lambda x: encoder(x).mu, torch.randn(4, 5, 2)),
        (lambda z: decoded(decoder, z), torch.randn(4, 3)),
    )
    for f, v in maps:
        start = f(torch.zeros_like(v))
        torch.testing.assert_close(f(2 * v) - start, 2 * (f(v) - start))
    assert MlpEncoderSpec(hidden=(), condition_width=2).feature_shape((5, 2)) == (12,)


@pytest.mark.parametrize("make", [ConvEncoder, ResnetEncoder, KlEncoder, MlpEncoder])
def test_an_encoder_is_told_labels_and_vectors(make):
    small = {} if make is MlpEncoder else {"widths": (4, 4)}
    encoder = make((2, 8, 8), condition_width=3, **small).eval()
    x = torch.randn(2, 2, 8, 8)
    one_hot = Condition(vector=torch.eye(3)[:2])
    labels = encoder(x, Condition(labels=torch.tensor([0, 1]))).mu
    torch.testing.assert_close(labels, encoder(x, one_hot).mu)
    several = encoder(x, Condition(vector=torch.tensor([[1.0, 1, 0], [0, 0, 0]]))).mu
    nothing = encoder(x, Condition(labels=torch.tensor([-1, -1]))).mu
    torch.testing.assert_close(several[1], nothing[1])
    assert not torch.allclose(several[0], labels[0])
    with pytest.raises(UsageError, match="needs the condition 'vector', got none"):
        encoder(x)
    with pytest.raises(UsageError, match="condition_width must be that of the condition, 2, got 3"):
        encoder(x, Condition(vector=torch.randn(2, 2)))


def disturbed(module):
    """Batch norms with statistics and weights that matter."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1, 0.3), nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean), nn.init.uniform_(part.running_var, 0.3, 2)
    return module.double()


@pytest.mark.parametrize("conv", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("bias", [True, False])
def test_a_frozen_batch_norm_is_part_of_its_convolution(conv, bias):
    layer = disturbed(NormedConv(conv(3, 5, 3, 2, 1, bias=bias))).eval()
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    with torch.no_grad():
        want, seen = layer(x), []
        layer.norm.register_forward_hook(lambda *_: seen.append(1))
        with frozen(layer):
            torch.testing.assert_close(layer(x), want, rtol=0, atol=1e-12)
            assert not seen
            assert layer(x).is_contiguous(memory_format=torch.channels_last)
            layer.norm.running_var.mul_(4)
            assert not torch.allclose(layer(x), want)  # a buffer that changes is noticed
        layer(x)
    assert seen


def test_a_batch_norm_in_training_is_not_folded():
    layer = disturbed(NormedConv(nn.Conv2d(3, 5, 3))).train()
    x = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    with torch.no_grad(), frozen(layer):
        h = layer.conv(x)
        mean, var = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), keepdim=True, correction=0)
        scale, shift = layer.norm.weight[:, None, None], layer.norm.bias[:, None, None]
        want = nn.functional.leaky_relu((h - mean) / (var + 1e-5).sqrt() * scale + shift)
        before = layer.norm.running_mean.clone()
        torch.testing.assert_close(layer(x), want)
        assert not layer.norm.running_mean.equal(before)


def test_a_frozen_layer_has_gradients_where_they_are_asked_for():
    layer = disturbed(NormedConv(nn.Conv2d(3, 5, 3))).eval()
    with frozen(layer):
        layer(torch.randn(1, 3, 4, 4, dtype=torch.float64)).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_one_number_of_each_channel_has_no_variance():
    encoder = ConvEncoder((1, 2, 2), widths=(4,))
    with pytest.raises(ShapeError, match=r"at least 2 numbers of each channel"):
        encoder(torch.randn(1, 1, 2, 2))
    ConvEncoder((1, 2, 2), widths=(4,), batch_norm=False)(torch.randn(1, 1, 2, 2))
    encoder.eval()(torch.randn(1, 1, 2, 2))


def test_the_autoencoder_of_latent_diffusion_has_its_size():
    """f8, 4 channels: as many weights as the AutoencoderKL has."""
    with torch.device("meta"):
        encoder = KlEncoder((3, 256, 256))
        decoder = KlDecoder((3, 256, 256), encoder.latent_shape, likelihood=Gaussian)
    assert encoder.latent_shape == (4, 32, 32)
    assert sum(p.numel() for m in (encoder, decoder) for p in m.parameters()) == 83_653_863


def test_a_residual_block_adds_to_what_it_is_given():
    block = ResidualBlock(2, batch_norm=False, activation="relu")
    nn.init.zeros_(block.second.conv.weight)
    nn.init.constant_(block.second.conv.bias, 0.5)
    x = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(block(x), (x + 0.5).relu())


def test_a_far_border_halves_and_rounds_down():
    layer = Halve(2)
    x = torch.randn(1, 2, 5, 6)
    bordered = torch.zeros(1, 2, 6, 7)
    bordered[:, :, :5, :6] = x
    want = torch.nn.functional.conv2d(bordered, layer.conv.weight, layer.conv.bias, stride=2)
    assert want.shape == (1, 2, 2, 3)
    torch.testing.assert_close(layer(x), want)


def test_attention_weighs_pixels_by_softmax():
    layer = Attention(4, groups=2).double()
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    q, k, v = layer.qkv(layer.norm(x)).flatten(2).chunk(3, 1)  # (B, C, H W) each
    weights = (q.transpose(1, 2) @ k / 2).softmax(-1)
    mixed = (v @ weights.transpose(1, 2)).reshape(x.shape)
    torch.testing.assert_close(layer(x), x + layer.out(mixed))
