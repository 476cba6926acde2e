"""Two posteriors: a diagonal Gaussian, and a point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corekit.errors import NoDensity
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.posterior import Posterior


def drawn_by_draw(parameters: Tensor, k: int) -> Tensor:
    """Parameters of a posterior for k draws: all rows for the first, then for the second ..."""
    return parameters.repeat(k, *(1,) * (parameters.ndim - 1))


class DiagonalGaussian(Posterior):
    r"""q(z | x) = N(mu, diag(exp(log_var))).

    .. math::
        \log q(z) = -\tfrac12 \sum_d \big[\log 2\pi + \ell_d + (z_d - \mu_d)^2 e^{-\ell_d}\big]

    Args:
        mu, log_var: ``(B, *latent_shape)``; kept in float32 or wider.
    """

    def __init__(self, mu: Tensor, log_var: Tensor) -> None:
        wide = torch.promote_types(mu.dtype, torch.float32)
        self.mu, self.log_var = mu.to(wide), log_var.to(wide)

    @property
    def mode(self) -> Tensor:
        """mu."""
        return self.mu

    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """z = mu + exp(log_var / 2) eps, and its density from eps itself."""
        mu, log_var = drawn_by_draw(self.mu, k), drawn_by_draw(self.log_var, k)
        eps = draws.normal("z", tuple(mu.shape), mu)
        log_q = -0.5 * (math.log(2 * math.pi) + log_var + eps.square()).flatten(1).sum(1)
        return mu + (0.5 * log_var).exp() * eps, LogProb(log_q)

    def log_prob(self, z: Tensor) -> LogProb:
        """log q(z), nats."""
        scaled = (z - self.mu).square() * (-self.log_var).exp()
        each = math.log(2 * math.pi) + self.log_var + scaled
        return LogProb(-0.5 * each.flatten(1).sum(1))

    def detached(self) -> DiagonalGaussian:
        """The same, without gradients to what made it."""
        return DiagonalGaussian(self.mu.detach(), self.log_var.detach())

    def repeated(self, k: int) -> DiagonalGaussian:
        """k times the rows, draw by draw."""
        return DiagonalGaussian(drawn_by_draw(self.mu, k), drawn_by_draw(self.log_var, k))

    def stored(self) -> Tensor:
        """mu and log_var, ``(B, 2, *latent_shape)``."""
        return torch.stack([self.mu, self.log_var], 1)

    @classmethod
    def restored(cls, stored: Tensor) -> DiagonalGaussian:
        """From mu and log_var."""
        return cls(stored[:, 0], stored[:, 1])

    def entropy(self) -> Tensor:
        """H = D/2 (1 + log 2 pi) + 1/2 sum log_var, ``(B,)``, nats."""
        return 0.5 * (1 + math.log(2 * math.pi) + self.log_var).flatten(1).sum(1)

    def statistics(self) -> dict[str, Tensor]:
        """Mean of mu, its largest absolute value, mean standard deviation."""
        mu, std = self.mu.detach(), (0.5 * self.log_var.detach()).exp()
        if not mu.numel():
            return {}
        return {"z_mean": mu.mean(), "z_abs_max": mu.abs().amax(), "z_std": std.mean()}


class Point(Posterior):
    """All mass on one latent: an auto-encoder. It has no density.

    Args:
        z: ``(B, *latent_shape)``.
    """

    def __init__(self, z: Tensor) -> None:
        self.z = z

    @property
    def mode(self) -> Tensor:
        """z."""
        return self.z

    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """z, and zeros of kind ``none``."""
        z = drawn_by_draw(self.z, k)
        return z, LogProb(z.new_zeros(z.shape[0]), Likelihood.NONE)

    def stored(self) -> Tensor:
        """z."""
        return self.z

    @classmethod
    def restored(cls, stored: Tensor) -> Point:
        """z itself."""
        return cls(stored)

    def log_prob(self, z: Tensor) -> LogProb:
        """Refused: a point has no density."""
        raise NoDensity(
            "Point: log_prob must have a density, got a point posterior. Use a Gaussian one."
        )
