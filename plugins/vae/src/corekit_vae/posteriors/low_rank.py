"""The Gaussian posterior with a few directions in which latents vary together."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import UsageError
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
from corekit_vae.posteriors.full import gaussian_statistics

_LOG_2PI = math.log(2 * math.pi)


class LowRankGaussian(Posterior):
    r"""q(z | x) = N(mu, S), S = diag(exp(log_var)) + F F^T with r columns in F.

    The density takes O(D r^2), by the Woodbury identity and the determinant lemma; with
    :math:`V = diag(e^{\ell})` and :math:`M = I + F^T V^{-1} F`,

    .. math::
        y^T S^{-1} y = |V^{-1/2} (y - F m)|^2 + |m|^2, \quad m = M^{-1} F^T V^{-1} y, \qquad
        \log |S| = \sum_d \ell_d + \log |M|

    The first is the identity as a sum of squares: a difference would lose its digits in float32.

    Args:
        mu, log_var: ``(B, *latent_shape)``, D numbers; kept in float32 or wider.
        factor: F, ``(B, r, *latent_shape)``.
    """

    def __init__(self, mu: Tensor, log_var: Tensor, factor: Tensor) -> None:
        self.mu, self.log_var, self.factor = wide(mu), wide(log_var), wide(factor)

    @property
    def mode(self) -> Tensor:
        """mu."""
        return self.mu

    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """z = mu + exp(log_var / 2) eps + F eta, and its density."""
        q = self.repeated(k)
        eps = draws.normal("z", tuple(q.mu.shape), q.mu)
        eta = draws.normal("factor", tuple(q.factor.shape[:2]), q.mu)
        with full_precision(eps):
            common = (eta[:, None] @ q.factor.flatten(2))[:, 0].reshape(q.mu.shape)
        z = q.mu + (0.5 * q.log_var).exp() * eps + common
        return z, q.log_prob(z)

    def log_prob(self, z: Tensor) -> LogProb:
        """log q(z), nats."""
        precise = (-0.5 * self.log_var).exp()
        away = ((z - self.mu) * precise).flatten(1)
        scaled = (self.factor * precise[:, None]).flatten(2)  # (B, r, D)
        with full_precision(away):
            root = self._root(scaled)
            common = torch.cholesky_solve(scaled @ away[:, :, None], root)  # m
            rest = away - (scaled.transpose(1, 2) @ common)[:, :, 0]
        square = rest.square().sum(1) + common[:, :, 0].square().sum(1)
        constant = away.shape[1] * _LOG_2PI
        return LogProb(-0.5 * (square + self._log_determinant(root) + constant))

    def detached(self) -> LowRankGaussian:
        """The same, without gradients to what made it."""
        return LowRankGaussian(self.mu.detach(), self.log_var.detach(), self.factor.detach())

    def repeated(self, k: int) -> LowRankGaussian:
        """k times the rows, draw by draw."""
        parts = self.mu, self.log_var, self.factor
        return LowRankGaussian(*(drawn_by_draw(part, k) for part in parts))

    def stored(self) -> Tensor:
        """mu, log_var and the columns of F, ``(B, 2 + r, *latent_shape)``."""
        return torch.cat([self.mu[:, None], self.log_var[:, None], self.factor], 1)

    @classmethod
    def restored(cls, stored: Tensor) -> LowRankGaussian:
        """From mu, log_var and the columns of F."""
        return cls(stored[:, 0], stored[:, 1], stored[:, 2:])

    def entropy(self) -> Tensor:
        """H = D/2 (1 + log 2 pi) + 1/2 log |S|, ``(B,)``, nats."""
        scaled = (self.factor * (-0.5 * self.log_var).exp()[:, None]).flatten(2)
        with full_precision(scaled):
            root = self._root(scaled)
        constant = math.prod(self.mu.shape[1:]) * (1 + _LOG_2PI)
        return 0.5 * (constant + self._log_determinant(root))

    def variance(self) -> Tensor:
        """That of each latent, ``(B, *latent_shape)``."""
        return self.log_var.exp() + self.factor.square().sum(1)

    def statistics(self) -> dict[str, Tensor]:
        """Mean of mu, its largest absolute value, mean standard deviation."""
        return gaussian_statistics(self.mu, self.variance())

    @staticmethod
    def _root(scaled: Tensor) -> Tensor:
        """The Cholesky factor of M, from V^-1/2 F."""
        inner = scaled @ scaled.transpose(1, 2)
        one = torch.eye(inner.shape[1], dtype=inner.dtype, device=inner.device)
        root: Tensor = torch.linalg.cholesky(inner + one)
        return root

    def _log_determinant(self, root: Tensor) -> Tensor:
        diagonal = root.diagonal(dim1=1, dim2=2)
        return self.log_var.flatten(1).sum(1) + 2 * diagonal.log().sum(1)


class LowRankGaussianHead(PosteriorHead):
    r"""q(z | x) = N(mu, diag(exp(log_var)) + F F^T), all linear in the features.

    For latents of D numbers it gives D (2 + r) for each x.

    Args:
        feature_shape: Shape of h without the batch.
        latent_shape: Shape of z without the batch.
        rank: r.
        max_log_var: Bound on the size of log_var, approached softly; None for none.

    Shape: h ``(B, *feature_shape)``; z ``(B, *latent_shape)``.
    """

    def __init__(
        self,
        feature_shape: Shape,
        latent_shape: Shape,
        *,
        rank: int = 4,
        max_log_var: float | None = 10.0,
    ) -> None:
        super().__init__(feature_shape, latent_shape)
        if rank < 1:
            raise UsageError(
                f"LowRankGaussianHead: rank must be at least 1, got {rank}. Use vae.gaussian."
            )
        self.rank, self.max_log_var = rank, max_log_var
        self.mu = linear_between(self.feature_shape, self.latent_shape)
        self.log_var = linear_between(self.feature_shape, self.latent_shape)
        channels = (rank * self.latent_shape[0], *self.latent_shape[1:])
        self.factor = linear_between(self.feature_shape, channels)

    def _forward(self, features: Tensor) -> LowRankGaussian:
        factor = self.factor(features)
        return LowRankGaussian(
            self.mu(features),
            softly_bounded(self.log_var(features), self.max_log_var),
            factor.reshape(len(factor), self.rank, *self.latent_shape),
        )


def _kl(q: LowRankGaussian, p: Density, condition: Condition | None) -> Tensor:
    """Cross-entropy from mean and variances, minus the entropy of q."""
    crossed = cross_entropy_to_gaussian(q.mu, q.variance(), p, condition)
    return crossed.flatten(1).sum(1) - q.entropy()


CLOSED_FORMS[LowRankGaussian, StandardNormal] = _kl
CLOSED_FORMS[LowRankGaussian, Gaussian] = _kl
