"""A condition as one more channel of an image."""

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape


class ConditionChannel(nn.Module):
    r"""x and, as its last channel, an image that is linear in a vector c.

    .. math:: x' = (E x,\; W c + b)

    Args:
        event_shape: ``(C, H, W)``.
        width: Numbers of c.
        embed_data: Whether E is a 1x1 convolution; the identity else.

    Shape: x ``(B, C, H, W)``; c ``(B, width)``; ``(B, C + 1, H, W)``.

    Source: Sohn et al., Learning Structured Output Representation using Deep Conditional
        Generative Models, NeurIPS 2015; laid out as in PyTorch-VAE, models/cvae.py.
    """

    def __init__(self, event_shape: Shape, width: int, *, embed_data: bool = False) -> None:
        super().__init__()
        channels, *size = event_shape
        self.data = nn.Conv2d(channels, channels, 1) if embed_data else nn.Identity()
        self.channel = nn.Sequential(
            nn.Linear(width, size[0] * size[1]), nn.Unflatten(1, (1, *size))
        )

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """The image with one more channel."""
        return torch.cat((self.data(x), self.channel(told)), dim=1)
