"""A posterior with several bumps: a mixture of diagonal Gaussians for each x."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.interfaces.precision import full_precision, wide
from corekit.latent.posteriors import drawn_by_draw
from corekit_vae.network_encoder import linear_between
from corekit_vae.posteriors.bounded import softly_bounded

_LOG_2PI = math.log(2 * math.pi)


class GaussianMixture(Posterior):
    r"""q(z | x) = sum_c w_c N(mu_c, diag(exp(log_var_c))).

    A draw picks a component, then a z. Its gradient is that of implicit reparametrisation, the
    Gumbel trick on w being biased: with the distribution functions of one latent given those
    before it, :math:`F_d(z_d \mid z_{<d})`, which of a draw are uniform and independent whatever
    the parameters :math:`\theta` are,

    .. math:: F(z(\theta); \theta) = u \;\Rightarrow\;
        \frac{dz}{d\theta} = -\Big(\frac{\partial F}{\partial z}\Big)^{-1}
        \frac{\partial F}{\partial \theta}

    The matrix is triangular, and as good as diagonal where the components lie apart. The gradient
    of an expectation is unbiased for all parameters, the weights too; its variance grows where
    components are far apart, as a draw would have to cross the gap between them.

    Args:
        mu, log_var: ``(B, C, *latent_shape)``; kept in float32 or wider.
        logits: ``(B, C)``; w is their softmax.

    ``mode`` is the mean of one component, that where q is highest.

    Source: Figurnov et al., Implicit Reparameterization Gradients, NeurIPS 2018, eq. 6 and
        appendix B, https://arxiv.org/abs/1805.08498; Graves, Stochastic Backpropagation through
        Mixture Density Distributions, 2016, https://arxiv.org/abs/1607.05690.
    """

    exact_mode = False
    pathwise = False

    def __init__(self, mu: Tensor, log_var: Tensor, logits: Tensor) -> None:
        self.mu, self.log_var = wide(mu), wide(log_var)
        self.logits = torch.log_softmax(wide(logits), 1)

    @property
    def mode(self) -> Tensor:
        """The mean of a component, where q is highest of these means."""
        rows, components = self.logits.shape
        means = self.mu.transpose(0, 1).flatten(0, 1)  # component by component
        with torch.no_grad():
            density = self.repeated(components).log_prob(means).value
            best = density.reshape(components, rows).argmax(0)
        return self._of_component(self.mu, best)

    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """A draw of a component each, z from it, and log q(z) of the mixture."""
        q = self.repeated(k)
        with torch.no_grad():
            u = draws.uniform("component", (len(q.logits),), q.logits.double())
            below = q.logits.double().exp().cumsum(1) <= u[:, None]
            chosen = below.sum(1).clamp(max=q.logits.shape[1] - 1)  # rounding may leave a rest
            mu, log_var = q._of_component(q.mu, chosen), q._of_component(q.log_var, chosen)
            z = mu + (0.5 * log_var).exp() * draws.normal("z", tuple(mu.shape), mu)
        z = z + q._followed(z)
        return z, q.log_prob(z)

    def log_prob(self, z: Tensor) -> LogProb:
        """log q(z), nats."""
        each = self._elements(z.flatten(1)).sum(2)
        return LogProb(torch.logsumexp(self.logits + each, 1))

    def detached(self) -> GaussianMixture:
        """The same, without gradients to what made it."""
        parts = self.mu, self.log_var, self.logits
        return GaussianMixture(*(part.detach() for part in parts))

    def repeated(self, k: int) -> GaussianMixture:
        """k times the rows, draw by draw."""
        parts = self.mu, self.log_var, self.logits
        return GaussianMixture(*(drawn_by_draw(part, k) for part in parts))

    def stored(self) -> Tensor:
        """mu, log_var and logits in one tensor, ``(B, 3, C, *latent_shape)``."""
        logits = self.logits.reshape(*self.logits.shape, *(1,) * (self.mu.ndim - 2))
        return torch.stack([self.mu, self.log_var, logits.expand_as(self.mu)], 1)

    @classmethod
    def restored(cls, stored: Tensor) -> GaussianMixture:
        """From the three."""
        return cls(stored[:, 0], stored[:, 1], stored[:, 2].flatten(2)[:, :, 0])

    def statistics(self) -> dict[str, Tensor]:
        """Mean and largest size of the means, mean deviation, how many components are in use."""
        if not self.mu.numel():
            return {}
        mu, std = self.mu.detach(), (0.5 * self.log_var.detach()).exp()
        weights = self.logits.detach().exp()
        used = (-(weights * self.logits.detach()).sum(1)).exp().mean()
        return {
            "z_mean": mu.mean(),
            "z_abs_max": mu.abs().amax(),
            "z_std": std.mean(),
            "components_used": used,
        }

    @staticmethod
    def _of_component(values: Tensor, chosen: Tensor) -> Tensor:
        """``(B, *latent_shape)`` of ``(B, C, ...)``."""
        index = chosen.reshape(-1, *(1,) * (values.ndim - 1)).expand(-1, 1, *values.shape[2:])
        return values.gather(1, index)[:, 0]

    def _elements(self, z: Tensor) -> Tensor:
        """log N of each element under each component, ``(B, C, D)``."""
        mu, log_var = self.mu.flatten(2), self.log_var.flatten(2)
        return -0.5 * ((z[:, None] - mu).square() * (-log_var).exp() + log_var + _LOG_2PI)

    def _followed(self, z: Tensor) -> Tensor:
        """Zeros with the gradient of a draw z: -(dF/dz)^-1 (F - F without gradients)."""
        flat = z.detach().flatten(1)
        mu, scale = self.mu.flatten(2), (0.5 * self.log_var.flatten(2)).exp()
        each = self._elements(flat)  # (B, C, D)
        before = each.cumsum(2) - each  # of the latents before d
        weights = torch.softmax(self.logits[:, :, None] + before, 1)
        below = torch.special.ndtr((flat[:, None] - mu) / scale)
        function = (weights * below).sum(1)  # F, (B, D)
        with torch.no_grad(), full_precision(flat):
            density = (weights * each.exp()).sum(1)
            slope = -(flat[:, None] - mu) / scale.square()  # of log N
            apart = weights * (below - function[:, None])
            jacobian = (apart.transpose(1, 2) @ slope).tril(-1) + torch.diag_embed(density)
        change = (function - function.detach())[:, :, None]
        with full_precision(flat):
            moved = torch.linalg.solve_triangular(jacobian, change, upper=False)
        return -moved[:, :, 0].reshape(z.shape)


class GaussianMixtureHead(PosteriorHead):
    r"""q(z | x): C diagonal Gaussians, whose means, log-variances and logits are linear.

    Args:
        feature_shape: Shape of h without the batch.
        latent_shape: Shape of z without the batch.
        components: C.
        max_log_var: Bound on the size of log_var, approached softly; None for none.

    Shape: h ``(B, *feature_shape)``; z ``(B, *latent_shape)``.
    """

    def __init__(
        self,
        feature_shape: Shape,
        latent_shape: Shape,
        *,
        components: int = 4,
        max_log_var: float | None = 10.0,
    ) -> None:
        super().__init__(feature_shape, latent_shape)
        if components < 1:
            raise UsageError(
                f"GaussianMixtureHead: components must be at least 1, got {components}."
            )
        self.components, self.max_log_var = components, max_log_var
        channels = (components * self.latent_shape[0], *self.latent_shape[1:])
        self.mu = linear_between(self.feature_shape, channels)
        self.log_var = linear_between(self.feature_shape, channels)
        self.logits = linear_between(self.feature_shape, (components,))

    def _forward(self, features: Tensor) -> GaussianMixture:
        log_var = softly_bounded(self.log_var(features), self.max_log_var)
        shape = (len(log_var), self.components, *self.latent_shape)
        mu = self.mu(features).reshape(shape)
        return GaussianMixture(mu, log_var.reshape(shape), self.logits(features))
