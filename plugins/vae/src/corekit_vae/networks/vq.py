"""The networks of the VQ-VAE: two or more halvings, and residual blocks at the smallest size."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.interfaces.observation import Observation
from corekit.interfaces.posterior_head import PosteriorHead
from corekit_vae.networks.image_decoder import ImageDecoder
from corekit_vae.networks.image_encoder import ImageEncoder
from corekit_vae.posteriors.point import PointHead
from corekit_vae.specs.sizes import check_grid, check_image, floors


class VqEncoder(ImageEncoder):
    """Convolutions of 4 x 4 with a stride of 2, residual blocks, and vectors at each place.

    Args:
        event_shape: ``(C, H, W)``.
        latent_channels: Numbers of the vector at each place.
        widths: Channels after each halving; sizes are rounded down.
        blocks: Residual blocks behind the last one.
        posterior: Factory of the posterior; a point, through a 1x1 convolution, unless given.
        condition_width: Numbers of the condition, which becomes a channel beside the data.

    Shape: x ``(B, C, H, W)``; z ``(B, latent_channels, h, w)``.

    Source: van den Oord et al., Neural Discrete Representation Learning, NeurIPS 2017, sec. 4.1,
        https://arxiv.org/abs/1711.00937; layers as in PyTorch-VAE, models/vq_vae.py.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        latent_channels: int = 64,
        widths: Sequence[int] = (128, 256),
        blocks: int = 6,
        posterior: Callable[..., PosteriorHead] = PointHead,
        condition_width: int = 0,
    ) -> None:
        who = type(self).__name__
        check_image(who, event_shape)
        size = floors(who, event_shape[1:], len(widths))[-1]
        super().__init__(
            event_shape, (latent_channels, *size), posterior, condition_width=condition_width
        )
        last = widths[-1]
        layers: list[nn.Module] = []
        for before, width in pairwise((self.in_channels, *widths)):
            layers += [nn.Conv2d(before, width, 4, 2, 1), nn.LeakyReLU()]
        layers += [nn.Conv2d(last, last, 3, padding=1), nn.LeakyReLU()]
        layers += [Residual(last) for _ in range(blocks)]
        self.body = nn.Sequential(*layers, nn.LeakyReLU())
        self.finish((last, *size))


class VqDecoder(ImageDecoder):
    """Residual blocks, and transposed convolutions of 4 x 4 with a stride of 2.

    Args:
        event_shape: ``(C, H, W)``.
        latent_shape: ``(D, h, w)``, as `VqEncoder` makes it.
        likelihood: Factory of the likelihood.
        widths: Channels before each doubling, from the data to the latent as in the encoder.
        blocks: Residual blocks before the first one.

    Shape: z ``(B, D, h, w)``; x ``(B, C, H, W)``.

    Raises:
        ShapeError: If the latent is no image of the encoder's size.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        *,
        likelihood: Callable[..., Observation],
        widths: Sequence[int] = (128, 256),
        blocks: int = 6,
    ) -> None:
        who = type(self).__name__
        check_image(who, event_shape)
        super().__init__(event_shape, latent_shape, likelihood)
        sizes = floors(who, event_shape[1:], len(widths))
        check_grid(who, latent_shape, sizes[-1])
        last = widths[-1]
        layers: list[nn.Module] = [nn.Conv2d(latent_shape[0], last, 3, padding=1), nn.LeakyReLU()]
        layers += [Residual(last) for _ in range(blocks)]
        layers.append(nn.LeakyReLU())
        for level in reversed(range(len(widths))):
            out = widths[level - 1] if level else self.out_channels
            more = tuple(n % 2 for n in sizes[level])
            layers.append(
                nn.ConvTranspose2d(widths[level], out, 4, 2, 1, output_padding=more)  # type: ignore[arg-type]
            )
            layers += [nn.LeakyReLU()] if level else []
        self.body = nn.Sequential(*layers)


class Residual(nn.Module):
    """x + a 1x1 convolution of ReLU of a 3x3 convolution of x, both without a bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The image behind it."""
        return x + self.body(x)
