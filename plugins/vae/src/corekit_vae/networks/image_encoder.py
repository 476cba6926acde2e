"""What encoders of images share."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.interfaces.posterior_head import PosteriorHead
from corekit_vae.network_encoder import NetworkEncoder
from corekit_vae.networks.condition_channel import ConditionChannel


class ImageEncoder(NetworkEncoder):
    """A posterior on what a network makes of an image, beside which the condition is a channel.

    A subclass sets ``body``, from ``in_channels`` channels to the features.

    Args:
        event_shape: ``(C, H, W)``.
        latent_shape: As for `NetworkEncoder`.
        posterior: As for `NetworkEncoder`.
        condition_width: As for `NetworkEncoder`.
        embed_data: Whether the data pass a 1x1 convolution before they meet the condition.
    """

    body: nn.Module

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        posterior: Callable[..., PosteriorHead],
        *,
        condition_width: int = 0,
        embed_data: bool = False,
    ) -> None:
        super().__init__(event_shape, latent_shape, posterior, condition_width=condition_width)
        self.condition: Any = None
        if condition_width:
            self.condition = ConditionChannel(event_shape, condition_width, embed_data=embed_data)
        self.in_channels = event_shape[0] + bool(condition_width)

    def features(self, x: Tensor, told: Tensor | None) -> Tensor:
        """What the network makes of the image."""
        return self.body(x if told is None else self.condition(x, told))
