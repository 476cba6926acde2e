"""Residual networks that halve and double images, for images of any size."""

from collections.abc import Sequence
from typing import Any

from corekit.data_spec import Shape
from corekit.nn.activation import Activation
from corekit_vae.networks.conv import ConvDecoder, ConvEncoder


class ResnetEncoder(ConvEncoder):
    """A `ConvEncoder` with residual blocks behind each halving.

    Args:
        event_shape: ``(C, H, W)``.
        widths: Channels after each halving.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        blocks: Residual blocks behind each halving.
        options: The others of `ConvEncoder`.

    Shape: x ``(B, C, H, W)``; z ``(B, latent_dim)`` or ``(B, latent_channels, h, w)``.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016,
        https://arxiv.org/abs/1512.03385.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        widths: Sequence[int] = (64, 128, 256),
        activation: Activation = "relu",
        blocks: int = 2,
        **options: Any,
    ) -> None:
        super().__init__(
            event_shape, widths=widths, activation=activation, blocks=blocks, **options
        )


class ResnetDecoder(ConvDecoder):
    """A `ConvDecoder` with residual blocks before each doubling.

    Args:
        event_shape: ``(C, H, W)``.
        latent_shape: Shape of z without the batch: a vector, or an image.
        widths: Channels before each doubling, from the data to the latent as in the encoder.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        blocks: Residual blocks before each doubling.
        options: The others of `ConvDecoder`.

    Shape: z ``(B, *latent_shape)``; x ``(B, C, H, W)``.

    Source: as `ResnetEncoder`.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        *,
        widths: Sequence[int] = (64, 128, 256),
        activation: Activation = "relu",
        blocks: int = 2,
        **options: Any,
    ) -> None:
        super().__init__(
            event_shape,
            latent_shape,
            widths=widths,
            activation=activation,
            blocks=blocks,
            **options,
        )
