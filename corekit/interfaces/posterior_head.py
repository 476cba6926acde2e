"""The PosteriorHead interface: from the features of an encoder to a posterior."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from corekit.data_spec import Shape, Support
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.shapes import check_shape


class PosteriorHead(nn.Module, ABC):
    """The last layer of an encoder: which distribution q(z | x) is, whatever the network before it.

    **Implement one.** Take ``feature_shape`` and ``latent_shape`` first in the constructor, set
    ``latent_shape`` to what z has in the end, and write ``_forward``, which returns a `Posterior`.
    A closed-form KL divergence goes into `corekit.latent.kl.CLOSED_FORMS`.

    Attributes:
        feature_shape: Shape of the features without the batch.
        latent_shape: Shape of z without the batch.
        kind: What log q(z | x) is (`Likelihood`); ``none`` for a point posterior.
        latent_support: Where z lies; the prior of a latent model must lie there too.

    Shape: features ``(B, *feature_shape)``.
    """

    feature_shape: Shape
    latent_shape: Shape
    kind: Likelihood = Likelihood.EXACT
    latent_support: Support = Support.REAL

    def __init__(self, feature_shape: Shape, latent_shape: Shape) -> None:
        super().__init__()
        self.feature_shape, self.latent_shape = tuple(feature_shape), tuple(latent_shape)

    def forward(self, features: Tensor) -> Posterior:
        """The posterior of each row."""
        check_shape(type(self).__name__, "features", features, self.feature_shape)
        return self._forward(features)

    @abstractmethod
    def _forward(self, features: Tensor) -> Posterior: ...
