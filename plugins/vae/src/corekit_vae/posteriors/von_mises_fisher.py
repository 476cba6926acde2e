"""The von Mises-Fisher posterior: latents on the unit sphere."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.interfaces.precision import wide
from corekit.interfaces.records import Condition
from corekit.latent.kl import CLOSED_FORMS
from corekit.latent.posteriors import drawn_by_draw
from corekit_vae.network_encoder import linear_between
from corekit_vae.posteriors.polar import PolarAngle, log_area
from corekit_vae.priors.sphere import UniformSphere


class VonMisesFisher(Posterior):
    r"""q(z | x) on the unit sphere in m dimensions, around a direction mu.

    .. math:: q(z) = \frac{e^{\kappa (\mu^T z - 1)}}{|S^{m-2}|\, Z(\kappa)}, \qquad
        Z = \int_0^\pi e^{-\kappa (1 - \cos\theta)} \sin^{m-2}\theta\, d\theta

    A draw turns from mu by an angle (`PolarAngle`) in a random direction. Both are differentiable
    functions of mu, kappa and noise: the gradient is exact, without a correction for rejections.

    Args:
        mu: ``(B, *latent_shape)``, m numbers of unit norm; kept in float32 or wider.
        kappa: Concentration, ``(B,)``, at least 0: 0 is uniform.

    Source: Davidson et al., Hyperspherical Variational Auto-Encoders, UAI 2018,
        https://arxiv.org/abs/1804.00891.
    """

    def __init__(self, mu: Tensor, kappa: Tensor) -> None:
        self.mu, self.kappa = wide(mu), wide(kappa)
        self.dimension = math.prod(self.mu.shape[1:])

    @cached_property
    def angle(self) -> PolarAngle:
        """Between a draw and mu."""
        return PolarAngle(self.kappa, self.dimension)

    @cached_property
    def log_z(self) -> Tensor:
        """log Z + log |S^(m-2)|, ``(B,)``, float64."""
        return self.angle.log_z + log_area(self.dimension - 1)

    @property
    def mode(self) -> Tensor:
        """mu."""
        return self.mu

    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """z at a random angle from mu, and its density from the angle itself."""
        mu, u = drawn_by_draw(self.mu, k).flatten(1), self.angle.kappa.new_zeros(())
        theta = self.angle.draw(draws.uniform("angle", (len(mu),), u))
        aside = normalize(draws.normal("z", tuple(mu.shape), mu)[:, 1:], dim=1)
        z = _turned(mu, theta.to(mu.dtype), aside).reshape(-1, *self.mu.shape[1:])
        spread = 2 * (theta / 2).sin().square()
        log_q = -drawn_by_draw(self.angle.kappa, k) * spread - drawn_by_draw(self.log_z, k)
        return z, LogProb(log_q.to(mu.dtype))

    def log_prob(self, z: Tensor) -> LogProb:
        """log q(z) of a unit vector, nats, relative to area."""
        spread = 0.5 * (z - self.mu).flatten(1).square().sum(1)  # 1 - mu^T z, precise near mu
        return LogProb((-self.kappa.double() * spread - self.log_z).to(self.mu.dtype))

    def detached(self) -> VonMisesFisher:
        """The same, without gradients to what made it."""
        return VonMisesFisher(self.mu.detach(), self.kappa.detach())

    def repeated(self, k: int) -> VonMisesFisher:
        """k times the rows, draw by draw; the normaliser is not computed again."""
        again = VonMisesFisher(drawn_by_draw(self.mu, k), drawn_by_draw(self.kappa, k))
        again.log_z = drawn_by_draw(self.log_z, k)
        return again

    def stored(self) -> Tensor:
        """mu and kappa, ``(B, 2, *latent_shape)``."""
        kappa = self.kappa.reshape(-1, *(1,) * (self.mu.ndim - 1))
        return torch.stack([self.mu, kappa.expand_as(self.mu)], 1)

    @classmethod
    def restored(cls, stored: Tensor) -> VonMisesFisher:
        """From mu and kappa."""
        return cls(stored[:, 0], stored[:, 1].flatten(1)[:, 0])

    def entropy(self) -> Tensor:
        """H = kappa (1 - E[mu^T z]) + log Z + log |S^(m-2)|, ``(B,)``, nats."""
        return (self.angle.kappa * self.angle.spread + self.log_z).to(self.mu.dtype)

    def statistics(self) -> dict[str, Tensor]:
        """Mean and largest concentration."""
        kappa = self.kappa.detach()
        return {"kappa": kappa.mean(), "kappa_max": kappa.amax()} if kappa.numel() else {}


class VonMisesFisherHead(PosteriorHead):
    r"""q(z | x) on the sphere: mu = W h / |W h|, kappa = floor + softplus of a linear map.

    Args:
        feature_shape: Shape of h without the batch.
        latent_shape: Shape of z without the batch, of at least two numbers; all of them together
            have unit norm.
        floor: Least concentration.

    In m dimensions a concentration below sqrt(m) says next to nothing about z.

    Shape: h ``(B, *feature_shape)``; z ``(B, *latent_shape)``.

    Raises:
        ShapeError: If z is a single number.
        UsageError: If the floor is negative.
    """

    latent_support = Support.SPHERE

    def __init__(self, feature_shape: Shape, latent_shape: Shape, *, floor: float = 1.0) -> None:
        super().__init__(feature_shape, latent_shape)
        if math.prod(self.latent_shape) < 2:
            raise ShapeError(
                "VonMisesFisherHead: the latent must have at least 2 numbers, got shape "
                f"{self.latent_shape}."
            )
        if not floor >= 0:
            raise UsageError(f"VonMisesFisherHead: floor must be at least 0, got {floor}.")
        self.floor = floor
        self.mu = linear_between(self.feature_shape, self.latent_shape)
        self.kappa = linear_between(self.feature_shape, (1,))

    def _forward(self, features: Tensor) -> VonMisesFisher:
        mu = wide(self.mu(features))
        kappa = self.floor + softplus(wide(self.kappa(features))[:, 0])
        return VonMisesFisher(normalize(mu.flatten(1), dim=1).reshape(mu.shape), kappa)


def _turned(mu: Tensor, theta: Tensor, aside: Tensor) -> Tensor:
    """cos(theta) mu + sin(theta) v, ``(B, m)``, v orthogonal to mu as ``aside`` is to an axis.

    A reflection takes the axis to mu: the one of its two ends that is farther from mu, so that the
    gradient is bounded.
    """
    sign = torch.where(mu[:, :1] > 0, -1.0, 1.0).to(mu.dtype)  # of the end of the first axis
    start = torch.cat([sign * theta.cos()[:, None], theta.sin()[:, None] * aside], 1)
    end = torch.cat([sign, torch.zeros_like(aside)], 1)
    across = end - mu
    share = (across * start).sum(1, keepdim=True) / across.square().sum(1, keepdim=True)
    return start - 2 * share * across


def _to_uniform(q: VonMisesFisher, p: UniformSphere, condition: Condition | None) -> Tensor:
    """log of the area of the sphere, minus the entropy of q."""
    return log_area(q.dimension) - q.entropy()


CLOSED_FORMS[VonMisesFisher, UniformSphere] = _to_uniform
