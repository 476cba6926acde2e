"""The diagonal Gaussian posterior."""

from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.latent.posteriors import DiagonalGaussian
from corekit_vae.network_encoder import linear_between


class DiagonalGaussianHead(PosteriorHead):
    r"""q(z | x) = N(mu, diag(exp(log_var))), both linear in the features h.

    .. math:: \mu = W_\mu h + b_\mu, \qquad
        \ell = b \tanh\big((W_\ell h + b_\ell) / b\big)

    Without the bound b, an exponential of a linear map of a deep network can overflow after one
    large step. Near zero the bound changes nothing: of a log-variance of 1 it takes 0.003.

    Args:
        feature_shape: Shape of h without the batch.
        latent_shape: Shape of z without the batch.
        max_log_var: b; None for none.

    Shape: h ``(B, *feature_shape)``; mu and log_var ``(B, *latent_shape)``.

    Raises:
        UsageError: If the bound is not positive.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, appendix C,
        https://arxiv.org/abs/1312.6114; the soft bound follows NVlabs/NVAE,
        distributions.py.
    """

    def __init__(
        self, feature_shape: Shape, latent_shape: Shape, *, max_log_var: float | None = 10.0
    ) -> None:
        super().__init__(feature_shape, latent_shape)
        if max_log_var is not None and not max_log_var > 0:
            raise UsageError(
                f"DiagonalGaussianHead: max_log_var must be positive, got {max_log_var}."
            )
        self.max_log_var = max_log_var
        self.mu = linear_between(self.feature_shape, self.latent_shape)
        self.log_var = linear_between(self.feature_shape, self.latent_shape)

    def _forward(self, features: Tensor) -> DiagonalGaussian:
        log_var = self.log_var(features)
        if self.max_log_var is not None:
            log_var = self.max_log_var * (log_var / self.max_log_var).tanh()
        return DiagonalGaussian(self.mu(features), log_var)
