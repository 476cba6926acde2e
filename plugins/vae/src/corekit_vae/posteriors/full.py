"""The Gaussian posterior with a covariance of its own: every latent may lean on every other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.flows.bases import Gaussian
from corekit.flows.prior import StandardNormal
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.interfaces.precision import full_precision, wide
from corekit.interfaces.records import Condition
from corekit.latent.kl import CLOSED_FORMS, cross_entropy_to_gaussian
from corekit.latent.posteriors import drawn_by_draw
from corekit_vae.network_encoder import linear_between
from corekit_vae.posteriors.bounded import softly_bounded

_LOG_2PI = math.log(2 * math.pi)


class FullGaussian(Posterior):
    r"""q(z | x) = N(mu, L L^T), L lower triangular with a positive diagonal.

    .. math::
        \log q(z) = -\tfrac12 |L^{-1} (z - \mu)|^2 - \sum_d \log L_{dd} - \tfrac D2 \log 2\pi

    Args:
        mu: ``(B, *latent_shape)``, D numbers; kept in float32 or wider.
        scale_tril: L, ``(B, D, D)``.
    """

    def __init__(self, mu: Tensor, scale_tril: Tensor) -> None:
        self.mu, self.scale_tril = wide(mu), wide(scale_tril)

    @property
    def mode(self) -> Tensor:
        """mu."""
        return self.mu

    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """z = mu + L eps, and its density from eps itself."""
        mu, scale = drawn_by_draw(self.mu, k), drawn_by_draw(self.scale_tril, k)
        eps = draws.normal("z", tuple(mu.shape), mu)
        with full_precision(mu):
            moved = (scale @ eps.flatten(1)[:, :, None]).reshape(mu.shape)
        return mu + moved, LogProb(self._density(eps.flatten(1), scale))

    def log_prob(self, z: Tensor) -> LogProb:
        """log q(z), nats."""
        away = (z - self.mu).flatten(1)[:, :, None]
        with full_precision(away):
            eps = torch.linalg.solve_triangular(self.scale_tril, away, upper=False)
        return LogProb(self._density(eps[:, :, 0], self.scale_tril))

    def detached(self) -> FullGaussian:
        """The same, without gradients to what made it."""
        return FullGaussian(self.mu.detach(), self.scale_tril.detach())

    def repeated(self, k: int) -> FullGaussian:
        """k times the rows, draw by draw."""
        return FullGaussian(drawn_by_draw(self.mu, k), drawn_by_draw(self.scale_tril, k))

    def stored(self) -> Tensor:
        """mu and the rows of L, ``(B, 1 + D, *latent_shape)``."""
        rows = self.scale_tril.reshape(len(self.mu), -1, *self.mu.shape[1:])
        return torch.cat([self.mu[:, None], rows], 1)

    @classmethod
    def restored(cls, stored: Tensor) -> FullGaussian:
        """From mu and the rows of L."""
        return cls(stored[:, 0], stored[:, 1:].flatten(2))

    def entropy(self) -> Tensor:
        """H = D/2 (1 + log 2 pi) + sum log L_dd, ``(B,)``, nats."""
        return (0.5 * (1 + _LOG_2PI) + self._log_diagonal(self.scale_tril)).sum(1)

    def variance(self) -> Tensor:
        """That of each latent, ``(B, *latent_shape)``."""
        return self.scale_tril.square().sum(2).reshape(self.mu.shape)

    def statistics(self) -> dict[str, Tensor]:
        """Mean of mu, its largest absolute value, mean standard deviation."""
        return gaussian_statistics(self.mu, self.variance())

    @staticmethod
    def _log_diagonal(scale: Tensor) -> Tensor:
        return scale.diagonal(dim1=1, dim2=2).log()

    def _density(self, eps: Tensor, scale: Tensor) -> Tensor:
        return -(0.5 * (eps.square() + _LOG_2PI) + self._log_diagonal(scale)).sum(1)


class FullGaussianHead(PosteriorHead):
    r"""q(z | x) = N(mu, L L^T); mu, the logarithm of L's diagonal and the rest are linear.

    For latents of D numbers it gives D (D + 3) / 2 for each x, and a density in O(D^2).

    Args:
        feature_shape: Shape of h without the batch.
        latent_shape: Shape of z without the batch; an image is a vector here.
        max_log_var: Bound on twice the logarithms of L's diagonal, approached softly; None for
            none.

    Shape: h ``(B, *feature_shape)``; z ``(B, *latent_shape)``.
    """

    place: Tensor

    def __init__(
        self, feature_shape: Shape, latent_shape: Shape, *, max_log_var: float | None = 10.0
    ) -> None:
        super().__init__(feature_shape, latent_shape)
        self.max_log_var, size = max_log_var, math.prod(self.latent_shape)
        self.mu = linear_between(self.feature_shape, self.latent_shape)
        self.log_var = linear_between(self.feature_shape, (size,))
        below = size * (size - 1) // 2
        self.below = linear_between(self.feature_shape, (below,)) if below else None
        row, column = torch.tril_indices(size, size, -1)
        self.register_buffer("place", row * size + column, persistent=False)

    def _forward(self, features: Tensor) -> FullGaussian:
        log_var = wide(softly_bounded(self.log_var(features), self.max_log_var))
        scale = torch.diag_embed((0.5 * log_var).exp())
        if self.below is not None:
            entries = wide(self.below(features))
            flat = scale.flatten(1)
            where = self.place.expand(len(flat), -1)
            scale = flat.scatter(1, where, entries).reshape(scale.shape)
        return FullGaussian(self.mu(features), scale)


def gaussian_statistics(mu: Tensor, variance: Tensor) -> dict[str, Tensor]:
    """Mean of mu, its largest absolute value, mean standard deviation; of no rows, nothing."""
    if not mu.numel():
        return {}
    mu, std = mu.detach(), variance.detach().sqrt()
    return {"z_mean": mu.mean(), "z_abs_max": mu.abs().amax(), "z_std": std.mean()}


def _kl(q: FullGaussian, p: Density, condition: Condition | None) -> Tensor:
    """Cross-entropy from mean and variances, minus the entropy of q."""
    crossed = cross_entropy_to_gaussian(q.mu, q.variance(), p, condition)
    return crossed.flatten(1).sum(1) - q.entropy()


CLOSED_FORMS[FullGaussian, StandardNormal] = _kl
CLOSED_FORMS[FullGaussian, Gaussian] = _kl
