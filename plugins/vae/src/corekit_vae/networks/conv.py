"""Convolutions with a stride of 2, and transposed ones, for images of any size."""

from collections.abc import Callable, Sequence

from torch import nn

from corekit.data_spec import Shape
from corekit.interfaces.observation import Observation
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.nn.activation import Activation
from corekit_vae.network_encoder import linear_between
from corekit_vae.networks.image_decoder import ImageDecoder
from corekit_vae.networks.image_encoder import ImageEncoder
from corekit_vae.networks.strided import double, halve
from corekit_vae.posteriors.diagonal import DiagonalGaussianHead
from corekit_vae.specs.sizes import asked_latent, check_image, halvings


class ConvEncoder(ImageEncoder):
    """A posterior on an image that convolutions with a stride of 2 halve again and again.

    Each: 3 x 3, a batch norm, an activation. Halves are rounded up, so any size will do. With
    ``blocks`` there are residual blocks behind each.

    Args:
        event_shape: ``(C, H, W)``.
        latent_dim: Size of the latent; 128 if latent_channels is None, too.
        latent_channels: Makes the latent an image of so many channels, as large as the last one.
        widths: Channels after each halving.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        batch_norm: Whether to normalise.
        blocks: Residual blocks behind each halving.
        embed_data: Whether the data pass a 1x1 convolution before they meet the condition.
        posterior: Factory of the posterior.
        condition_width: Numbers of the condition, which becomes a channel beside the data.

    Shape: x ``(B, C, H, W)``; z ``(B, latent_dim)`` or ``(B, latent_channels, h, w)``.

    Raises:
        ShapeError: If the data are no images, or a latent of both forms is asked for.

    Source: the skeleton of PyTorch-VAE, models/vanilla_vae.py, there for 64 x 64 only.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        latent_dim: int | None = None,
        latent_channels: int | None = None,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        activation: Activation = "leaky_relu",
        batch_norm: bool = True,
        blocks: int = 0,
        embed_data: bool = False,
        posterior: Callable[..., PosteriorHead] = DiagonalGaussianHead,
        condition_width: int = 0,
    ) -> None:
        who = type(self).__name__
        check_image(who, event_shape)
        smallest = (widths[-1], *halvings(event_shape[1:], len(widths))[-1])
        super().__init__(
            event_shape,
            asked_latent(who, smallest, latent_dim, latent_channels),
            posterior,
            condition_width=condition_width,
            embed_data=embed_data,
        )
        self.body = halve(
            self.in_channels, widths, blocks=blocks, batch_norm=batch_norm, activation=activation
        )
        self.finish(smallest)


class ConvDecoder(ImageDecoder):
    """A likelihood on an image that transposed convolutions double again and again.

    Each: 3 x 3, a batch norm, an activation; to the sizes that `ConvEncoder` went through. A linear
    map stands before them, and a convolution of 3 x 3 behind.

    Args:
        event_shape: ``(C, H, W)``.
        latent_shape: Shape of z without the batch: a vector, or an image.
        likelihood: Factory of the likelihood.
        widths: Channels before each doubling, from the data to the latent as in the encoder.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        batch_norm: Whether to normalise.
        blocks: Residual blocks before each doubling.

    Shape: z ``(B, *latent_shape)``; x ``(B, C, H, W)``.

    Raises:
        ShapeError: If the data are no images.

    Source: the skeleton of PyTorch-VAE, models/vanilla_vae.py, there for 64 x 64 only.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        *,
        likelihood: Callable[..., Observation],
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        activation: Activation = "leaky_relu",
        batch_norm: bool = True,
        blocks: int = 0,
    ) -> None:
        check_image(type(self).__name__, event_shape)
        super().__init__(event_shape, latent_shape, likelihood)
        size = event_shape[1:]
        smallest = (widths[-1], *halvings(size, len(widths))[-1])
        self.body = nn.Sequential(
            linear_between(latent_shape, smallest),
            double(size, widths, blocks=blocks, batch_norm=batch_norm, activation=activation),
            nn.Conv2d(widths[0], self.out_channels, 3, padding=1),
        )
