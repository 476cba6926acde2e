"""Pixels to channels, and images to vectors."""

import math
from typing import Literal

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.bijector import Bijector, no_logdet

Order = Literal["channels", "offsets", "corners"]


class Squeeze(Bijector):
    r"""Blocks of f by f pixels become channels: (C, H, W) to (f^2 C, H / f, W / f).

    Pixel (dy, dx) of a block of channel c becomes channel

    ==========  =========================  =====================================================
    order       channel                    as in
    ==========  =========================  =====================================================
    channels    c f^2 + dy f + dx          Glow, nflows, normflows, ``torch.pixel_unshuffle``
    offsets     (dy f + dx) C + c          TensorFlow's ``space_to_depth``
    corners     q C + c, with q = 0 … 3    the authors' RealNVP (f = 2): (0, 0), (1, 1), (0, 1),
                                           (1, 0)
    ==========  =========================  =====================================================

    The opposite is ``inverse`` of this one.

    Args:
        event_shape: ``(C, H, W)``, H and W multiples of f.
        context_shape: Not used: the map has no context.
        factor: f, at least 2.
        order: Of the new channels.

    Shape: x ``(B, C, H, W)``, z ``(B, f^2 C, H / f, W / f)``; logdet ``(B,)``, zeros.

    Raises:
        ShapeError: If the event is no image, or its sides are no multiples of the factor.
        UsageError: If there is no such order, or it has another factor.

    Source: Dinh et al., Density estimation using Real NVP, ICLR 2017, section 3.6,
        https://arxiv.org/abs/1605.08803.

    Example:
        >>> Squeeze((3, 8, 6)).latent_shape
        (12, 4, 3)
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        factor: int = 2,
        order: Order = "channels",
    ) -> None:
        super().__init__()
        if order not in ("channels", "offsets", "corners"):
            raise UsageError(f"Squeeze: order must be channels, offsets or corners, got {order!r}.")
        if factor < 2 or (order == "corners" and factor != 2):
            rule = "2 for the order 'corners'" if order == "corners" else "at least 2"
            raise UsageError(f"Squeeze: factor must be {rule}, got {factor}.")
        if len(event_shape) != 3 or event_shape[1] % factor or event_shape[2] % factor:
            raise ShapeError(
                f"Squeeze: event_shape must be (channels, height, width) with sides that are "
                f"multiples of {factor}, got {tuple(event_shape)}. Pad or crop the images."
            )
        self.event_shape = tuple(event_shape)
        self.factor, self.order = factor, order

    @property
    def latent_shape(self) -> Shape:
        """Fewer pixels, more channels."""
        channels, height, width = self.event_shape
        return channels * self.factor**2, height // self.factor, width // self.factor

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        channels, height, width = self.event_shape
        f = self.factor
        blocks = x.reshape(x.shape[0], channels, height // f, f, width // f, f)
        if self.order == "channels":
            z = blocks.permute(0, 1, 3, 5, 2, 4)
        else:
            z = blocks.permute(0, 3, 5, 1, 2, 4)  # (B, dy, dx, C, H / f, W / f)
        if self.order == "corners":
            z = torch.stack((z[:, 0, 0], z[:, 1, 1], z[:, 0, 1], z[:, 1, 0]), dim=1)
        return z.reshape(x.shape[0], *self.latent_shape), no_logdet(x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        channels, height, width = self.event_shape
        f, (height, width) = self.factor, self.latent_shape[1:]
        if self.order == "corners":
            a, d, b, c = z.reshape(z.shape[0], 4, channels, height, width).unbind(1)
            z = torch.stack((a, b, c, d), dim=1)
        if self.order == "channels":
            blocks = z.reshape(z.shape[0], channels, f, f, height, width).permute(0, 1, 4, 2, 5, 3)
        else:
            blocks = z.reshape(z.shape[0], f, f, channels, height, width).permute(0, 3, 4, 1, 5, 2)
        return blocks.reshape(z.shape[0], *self.event_shape), no_logdet(z)


class Flatten(Bijector):
    """Any event as a vector.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Not used: the map has no context.

    Shape: x ``(B, *event_shape)``, z ``(B, D)``; logdet ``(B,)``, zeros.
    """

    def __init__(self, event_shape: Shape, context_shape: Shape | None = None) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

    @property
    def latent_shape(self) -> Shape:
        """One axis."""
        return (math.prod(self.event_shape),)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x.reshape(x.shape[0], *self.latent_shape), no_logdet(x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z.reshape(z.shape[0], *self.event_shape), no_logdet(z)
