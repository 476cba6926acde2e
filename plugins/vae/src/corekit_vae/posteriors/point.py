"""The posterior of an auto-encoder."""

from torch import Tensor
from torch.nn.functional import leaky_relu

from corekit.data_spec import Shape
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.latent.posteriors import Point
from corekit_vae.network_encoder import linear_between


class PointHead(PosteriorHead):
    r"""All mass on z = W h + b: an auto-encoder, or what a quantizer is given.

    Args:
        feature_shape: Shape of h without the batch.
        latent_shape: Shape of z without the batch.
        activated: Whether z passes a leaky ReLU, as in the VQ-VAE of PyTorch-VAE: then it is nearly
            positive, which half of a codebook around zero never meets.

    Shape: h ``(B, *feature_shape)``; z ``(B, *latent_shape)``.
    """

    kind = Likelihood.NONE

    def __init__(
        self, feature_shape: Shape, latent_shape: Shape, *, activated: bool = False
    ) -> None:
        super().__init__(feature_shape, latent_shape)
        self.z = linear_between(self.feature_shape, self.latent_shape)
        self.activated = activated

    def _forward(self, features: Tensor) -> Point:
        z = self.z(features)
        return Point(leaky_relu(z) if self.activated else z)
