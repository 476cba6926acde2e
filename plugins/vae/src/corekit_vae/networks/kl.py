"""The auto-encoder of latent diffusion."""

from collections.abc import Callable, Sequence

from torch import nn

from corekit.data_spec import Shape
from corekit.interfaces.observation import Observation
from corekit.interfaces.posterior_head import PosteriorHead
from corekit_vae.network_encoder import linear_between
from corekit_vae.networks.image_decoder import ImageDecoder
from corekit_vae.networks.image_encoder import ImageEncoder
from corekit_vae.networks.kl_blocks import Double, Halve, blocks_of, ending, middle
from corekit_vae.posteriors.diagonal import DiagonalGaussianHead
from corekit_vae.specs.sizes import check_image, floors


class KlEncoder(ImageEncoder):
    """Residual blocks with group norm, halvings between them, attention at the smallest size.

    The latent is an image, whose means and log-variances are linear in two numbers for each.
    Halves are rounded down.

    Args:
        event_shape: ``(C, H, W)``.
        latent_channels: Channels of the latent.
        widths: Channels; a halving stands between two of them. Four of them make a latent of an
            eighth of the size, "f8".
        blocks: Residual blocks at each size.
        attention: Whether there is attention between the blocks at the smallest size.
        groups: Of the group norms, at most: the most that divide the channels.
        posterior: Factory of the posterior.
        condition_width: Numbers of the condition, which becomes a channel beside the data.

    Shape: x ``(B, C, H, W)``; z ``(B, latent_channels, h, w)``.

    Raises:
        ShapeError: If the data are no images, or too small for so many halvings.

    Source: Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, CVPR 2022,
        appendix G, https://arxiv.org/abs/2112.10752; laid out as its AutoencoderKL.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        latent_channels: int = 4,
        widths: Sequence[int] = (128, 256, 512, 512),
        blocks: int = 2,
        attention: bool = True,
        groups: int = 32,
        posterior: Callable[..., PosteriorHead] = DiagonalGaussianHead,
        condition_width: int = 0,
    ) -> None:
        check_image(type(self).__name__, event_shape)
        size = floors(type(self).__name__, event_shape[1:], len(widths) - 1)[-1]
        super().__init__(
            event_shape, (latent_channels, *size), posterior, condition_width=condition_width
        )
        layers: list[nn.Module] = [nn.Conv2d(self.in_channels, widths[0], 3, padding=1)]
        before = widths[0]
        for i, width in enumerate(widths):
            layers += [Halve(before)] if i else []
            layers += blocks_of(before, width, blocks, groups)
            before = width
        layers += middle(before, groups, attention=attention)
        self.body = nn.Sequential(*layers, *ending(before, 2 * latent_channels, groups))
        self.finish((2 * latent_channels, *size))


class KlDecoder(ImageDecoder):
    """Residual blocks with group norm, doublings between them, attention at the smallest size.

    Args:
        event_shape: ``(C, H, W)``.
        latent_shape: Shape of z without the batch: an image of the smallest size, or else anything.
        likelihood: Factory of the likelihood.
        widths: Channels, from the data to the latent as in the encoder; a doubling stands between
            two of them.
        blocks: Residual blocks at each size, and one more.
        attention: Whether there is attention between the blocks at the smallest size.
        groups: Of the group norms, at most: the most that divide the channels.

    Shape: z ``(B, *latent_shape)``; x ``(B, C, H, W)``.

    Raises:
        ShapeError: If the data are no images, or too small for so many halvings.

    Source: as `KlEncoder`.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        *,
        likelihood: Callable[..., Observation],
        widths: Sequence[int] = (128, 256, 512, 512),
        blocks: int = 2,
        attention: bool = True,
        groups: int = 32,
    ) -> None:
        check_image(type(self).__name__, event_shape)
        sizes = floors(type(self).__name__, event_shape[1:], len(widths) - 1)
        super().__init__(event_shape, latent_shape, likelihood)
        fits = len(latent_shape) == 3 and tuple(latent_shape[1:]) == sizes[-1]
        first = latent_shape[0] if fits else widths[-1]
        before = widths[-1]
        layers = [
            linear_between(latent_shape, (first, *sizes[-1])),
            nn.Conv2d(first, before, 3, padding=1),
            *middle(before, groups, attention=attention),
        ]
        for level in reversed(range(len(widths))):
            layers += blocks_of(before, widths[level], blocks + 1, groups)
            before = widths[level]
            layers += [Double(before, sizes[level - 1])] if level else []
        self.body = nn.Sequential(*layers, *ending(before, self.out_channels, groups))
