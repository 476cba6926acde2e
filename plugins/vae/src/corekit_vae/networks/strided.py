"""Images halved and doubled by convolutions with a stride of 2, to any size."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit_vae.networks.normed_conv import NormedConv
from corekit_vae.specs.sizes import halvings


class ResidualBlock(nn.Module):
    r"""act(h + norm(conv(act(norm(conv(h)))))).

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, fig. 2,
        https://arxiv.org/abs/1512.03385.
    """

    def __init__(self, channels: int, *, batch_norm: bool, activation: str) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.first = NormedConv(first, batch_norm=batch_norm, activation=activation)
        self.second = NormedConv(second, batch_norm=batch_norm, activation=None)
        self.last = self.first.activation

    def forward(self, h: Tensor) -> Tensor:
        """The image behind it."""
        return self.last(h + self.second(self.first(h)))


def halve(
    channels: int, widths: Sequence[int], *, blocks: int, batch_norm: bool, activation: str
) -> nn.Sequential:
    """An image halved once for each width, rounded up, with residual blocks behind each halving."""
    how: dict[str, Any] = {"batch_norm": batch_norm, "activation": activation}
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(NormedConv(nn.Conv2d(channels, width, 3, 2, 1), **how))
        layers += [ResidualBlock(width, **how) for _ in range(blocks)]
        channels = width
    return nn.Sequential(*layers)


def double(
    size: Shape, widths: Sequence[int], *, blocks: int, batch_norm: bool, activation: str
) -> nn.Sequential:
    r"""An image of half the size doubled once for each width, to exactly this size.

    A transposed convolution of 3 x 3 makes n of ceil(n / 2): 2 ceil(n / 2) - 1, and one more
    (``output_padding``) where n is even.

    Args:
        size: Height and width at the end.
        widths: Channels, from the data to the latent; the first come out.
        blocks: Residual blocks before each doubling.
        batch_norm: Whether to normalise.
        activation: Its name.
    """
    how: dict[str, Any] = {"batch_norm": batch_norm, "activation": activation}
    sizes, layers = halvings(size, len(widths)), list[nn.Module]()
    for level in reversed(range(len(widths))):
        more = tuple(1 - n % 2 for n in sizes[level])
        width, after = widths[level], widths[max(level - 1, 0)]
        layers += [ResidualBlock(width, **how) for _ in range(blocks)]
        up = nn.ConvTranspose2d(width, after, 3, 2, 1, output_padding=more)  # type: ignore[arg-type]
        layers.append(NormedConv(up, **how))
    return nn.Sequential(*layers)
