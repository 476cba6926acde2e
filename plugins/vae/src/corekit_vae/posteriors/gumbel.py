"""The posterior of a few categories each, with draws that gradients pass through."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from corekit.data_spec import Shape, Support
from corekit.errors import NoDensity, UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.interfaces.precision import wide
from corekit.interfaces.records import Condition
from corekit.latent.kl import CLOSED_FORMS
from corekit.latent.posteriors import drawn_by_draw
from corekit_vae.network_encoder import linear_between
from corekit_vae.priors.categories import UniformCategories


class GumbelSoftmax(Posterior):
    r"""N categorical variables, drawn as shares that near one-hot codes as tau falls.

    .. math:: y_{nk} \propto \exp\big((\ell_{nk} + g_{nk}) / \tau\big), \qquad
        g = -\log(-\log u)

    z is of the kind ``none``: it has no density that an ELBO could take. What is decoded is y, a
    relaxation, but the KL that is trained is that of the categorical variables, whose codes are
    corners of the simplex; the two are about different variables, and their sum bounds nothing.

    Args:
        logits: ``(B, N, K, *space)``; kept in float32 or wider.
        tau: Temperature, ``()``.
        hard: Give one-hot codes, with the gradient of the shares (straight-through).

    Shape: z ``(B, N * K, *space)``, variable by variable.
    Source: Jang et al., Categorical Reparameterization with Gumbel-Softmax, ICLR 2017,
        https://arxiv.org/abs/1611.01144.
    """

    def __init__(self, logits: Tensor, tau: Tensor, *, hard: bool = False) -> None:
        self.logits = torch.log_softmax(wide(logits), 2)
        self.tau, self.hard, self.pathwise = tau.to(self.logits), hard, not hard

    @property
    def mode(self) -> Tensor:
        """One-hot codes of the most probable categories."""
        return self._codes(self.logits).flatten(1, 2)

    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """Relaxed or straight-through codes, and zeros of kind ``none``."""
        logits = drawn_by_draw(self.logits, k)
        u = draws.uniform("gumbel", tuple(logits.shape), logits)
        noise = -(-u.clamp(min=torch.finfo(u.dtype).tiny).log()).log()
        z = torch.softmax((logits + noise) / self.tau, 2)
        if self.hard:
            z = self._codes(z) + z - z.detach()
        return z.flatten(1, 2), LogProb(z.new_zeros(len(z)), Likelihood.NONE)

    def log_prob(self, z: Tensor) -> LogProb:
        """Refused: a relaxed code has no density here."""
        raise NoDensity(
            "GumbelSoftmax: log_prob must have a density, got relaxed codes. Its KL to uniform "
            "categories has a closed form."
        )

    def detached(self) -> GumbelSoftmax:
        """The same, without gradients to what made it."""
        return GumbelSoftmax(self.logits.detach(), self.tau, hard=self.hard)

    def repeated(self, k: int) -> GumbelSoftmax:
        """k times the rows, draw by draw."""
        return GumbelSoftmax(drawn_by_draw(self.logits, k), self.tau, hard=self.hard)

    def entropy(self) -> Tensor:
        """Of the N categorical variables together, ``(B,)``, nats; at most N log K."""
        return -(self.logits.exp() * self.logits).flatten(1).sum(1)

    def statistics(self) -> dict[str, Tensor]:
        """tau, and how many categories a variable has in use: the exponential of its entropy."""
        if not self.logits.numel():
            return {}
        logits = self.logits.detach()
        used = (-(logits.exp() * logits).sum(2)).exp().mean()
        return {"tau": self.tau.detach(), "categories_used": used}

    def _codes(self, values: Tensor) -> Tensor:
        """One-hot codes of the highest values."""
        codes = one_hot(values.argmax(2), values.shape[2])  # (B, N, *space, K)
        return codes.movedim(-1, 2).to(values.dtype)


class GumbelHead(PosteriorHead):
    r"""N categorical variables of K categories, with logits that are linear in the features.

    .. math:: \tau_i = \max(\tau_{min}, \tau_0 e^{-r i}) \text{ at optimizer step } i

    Args:
        feature_shape: Shape of h without the batch.
        latent_shape: N variables, or (N, height, width) of them.
        categories: K.
        tau: Temperature at the start.
        tau_min: Least temperature.
        rate: r, per optimizer step.
        hard: Give one-hot codes, with the gradient of the shares.

    Shape: h ``(B, *feature_shape)``; z ``(B, N * K)`` or ``(B, N * K, height, width)``.
    """

    kind = Likelihood.NONE
    latent_support = Support.SIMPLEX
    tau: Tensor

    def __init__(
        self,
        feature_shape: Shape,
        latent_shape: Shape,
        *,
        categories: int = 10,
        tau: float = 1.0,
        tau_min: float = 0.5,
        rate: float = 3e-5,
        hard: bool = False,
    ) -> None:
        super().__init__(feature_shape, latent_shape)
        if categories < 2:
            raise UsageError(f"GumbelHead: categories must be at least 2, got {categories}.")
        if not 0 < tau_min <= tau or not rate >= 0:
            raise UsageError(
                "GumbelHead: tau must be at least tau_min, both positive, and rate at least 0, "
                f"got tau {tau}, tau_min {tau_min}, rate {rate}."
            )
        self.variables, self.categories, self.hard = self.latent_shape[0], categories, hard
        self.start, self.end, self.rate = tau, tau_min, rate
        self.latent_shape = (self.variables * categories, *self.latent_shape[1:])
        self.logits = linear_between(self.feature_shape, self.latent_shape)
        self.register_buffer("tau", torch.tensor(float(tau)), persistent=False)

    def at_step(self, step: int) -> None:
        """Lower tau; no host sync."""
        self.tau.fill_(max(self.end, self.start * math.exp(-self.rate * step)))

    def _forward(self, features: Tensor) -> GumbelSoftmax:
        logits = self.logits(features)
        logits = logits.unflatten(1, (self.variables, self.categories))
        return GumbelSoftmax(logits, self.tau, hard=self.hard)


def _to_uniform(q: GumbelSoftmax, p: UniformCategories, condition: Condition | None) -> Tensor:
    """N log K, minus the entropy of the categorical variables."""
    _, variables, categories = q.logits.shape[:3]
    places = math.prod(q.logits.shape[3:])
    return variables * places * math.log(categories) - q.entropy()


CLOSED_FORMS[GumbelSoftmax, UniformCategories] = _to_uniform
