"""What decoders of images share."""

import math
from collections.abc import Callable

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.interfaces.observation import Observation
from corekit_vae.network_decoder import NetworkDecoder


class ImageDecoder(NetworkDecoder):
    """A likelihood on an image that a network makes of the latent.

    A subclass sets ``body``, from the latent to ``out_channels`` channels.

    Args:
        event_shape: ``(C, H, W)``.
        latent_shape: Shape of z without the batch.
        likelihood: As for `NetworkDecoder`.

    Raises:
        ShapeError: If the likelihood wants no image of the size of the data.
    """

    body: nn.Module

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        likelihood: Callable[..., Observation],
    ) -> None:
        super().__init__(event_shape, latent_shape, likelihood)
        wanted = tuple(self.likelihood.parameter_shape)
        if len(wanted) < 3 or wanted[-2:] != self.event_shape[1:]:
            raise ShapeError(
                f"{type(self).__name__}: the likelihood must be given an image of {event_shape[1:]}"
                f", but its parameter_shape is {wanted}. Use vae.mlp."
            )
        self.out_channels = math.prod(wanted[:-2])

    def parameters_of(self, z: Tensor) -> Tensor:
        """The image, ``(B, *likelihood.parameter_shape)``."""
        h = self.body(z)
        wanted = self.likelihood.parameter_shape
        return h if len(wanted) == 3 else h.unflatten(1, wanted[:-2])
