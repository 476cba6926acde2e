"""The flow posterior: a Gaussian that a bijector bends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import make
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.drawing import current_draws, drawing
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.interfaces.precision import wide
from corekit.latent.posteriors import DiagonalGaussian, drawn_by_draw
from corekit_vae.network_encoder import linear_between
from corekit_vae.posteriors.bounded import softly_bounded


class FlowPosterior(Posterior):
    r"""q(z | x): z = f(z_0 | c), z_0 from a diagonal Gaussian.

    .. math:: \log q(z) = \log q_0(z_0) - \log |\det \partial f / \partial z_0|

    f is the bijector forwards. A draw and its density are one pass, so a masked autoregressive map
    is an inverse autoregressive flow here. `log_prob` of a given z needs the inverse. ``mode`` is
    f of the mean of z_0: the most probable z only if f is affine.

    Args:
        base: Of z_0.
        bijector: f.
        context: c, ``(B, *context_shape)``, or None.
        dtype: That f computes in; that of the base unless given.

    Source: Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow,
        NeurIPS 2016, https://arxiv.org/abs/1606.04934.
    """

    exact_mode = False

    def __init__(
        self,
        base: DiagonalGaussian,
        bijector: Bijector,
        context: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.base, self.bijector, self.context = base, bijector, context
        self.dtype = base.mu.dtype if dtype is None else dtype
        self.kind = Likelihood.EXACT | bijector.logdet_kind

    @property
    def mode(self) -> Tensor:
        """f of the mean of z_0."""
        with self._noise(current_draws()):
            return wide(self.bijector(self.base.mode.to(self.dtype), self.context)[0])

    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """z = f(z_0), and its density from the same pass."""
        q = self.repeated(k)
        start, log_q = q.base.rsample_and_log_prob(draws)
        with self._noise(draws):
            z, logdet = self.bijector(start.to(self.dtype), q.context)
        return wide(z), LogProb(log_q.value - logdet, self.kind)

    def log_prob(self, z: Tensor) -> LogProb:
        """log q(z), nats, by the inverse of f.

        Raises:
            UsageError: If f has no inverse.
        """
        if not self.bijector.has_inverse:
            raise UsageError(
                f"FlowPosterior: log_prob must have an inverse of {type(self.bijector).__name__}, "
                "got a bijector without one. Score draws, or use a bijector that has it."
            )
        with self._noise(current_draws()):
            start, logdet = self.bijector.inverse(z.to(self.dtype), self.context)
        return LogProb(self.base.log_prob(start).value + logdet, self.kind)

    def repeated(self, k: int) -> FlowPosterior:
        """k times the rows, draw by draw; of the same bijector."""
        context = None if self.context is None else drawn_by_draw(self.context, k)
        return FlowPosterior(self.base.repeated(k), self.bijector, context, self.dtype)

    def statistics(self) -> dict[str, Tensor]:
        """Those of z_0."""
        return self.base.statistics()

    def _noise(self, draws: Draws) -> AbstractContextManager[None]:
        """A block in which an estimated log-determinant takes its noise from the draws."""
        return nullcontext() if self.kind is Likelihood.EXACT else drawing(draws)


class FlowHead(PosteriorHead):
    r"""q(z | x) = f(z_0 | c), with a diagonal Gaussian z_0 and c = W h + b from the features h.

    Args:
        feature_shape: Shape of h without the batch.
        latent_shape: Shape of z_0 without the batch; that of z is what f makes of it.
        bijector: Factory of f, called with event_shape and context_shape.
        context: Numbers in c; 0 for a bijector that is the same for all x.
        max_log_var: Bound on the size of z_0's log-variance, approached softly; None for none.

    Raises:
        ShapeError: If f does not take real numbers.
        UsageError: If there is a context that f does not take.

    Shape: h ``(B, *feature_shape)``; z ``(B, *latent_shape)``.
    """

    def __init__(
        self,
        feature_shape: Shape,
        latent_shape: Shape,
        *,
        bijector: Callable[..., Bijector],
        context: int = 0,
        max_log_var: float | None = 10.0,
    ) -> None:
        super().__init__(feature_shape, latent_shape)
        self.max_log_var, start = max_log_var, self.latent_shape
        self.mu = linear_between(self.feature_shape, start)
        self.log_var = linear_between(self.feature_shape, start)
        self.bijector = make(bijector, start, (context,) if context else None)
        name = type(self.bijector).__name__
        if self.bijector.domain is not Support.REAL:
            raise ShapeError(
                "FlowHead: the bijector must take what a Gaussian gives (real), got "
                f"{name}, which takes {self.bijector.domain.value}."
            )
        if context and self.bijector.context_shape is None:
            raise UsageError(
                f"FlowHead: context must be 0 for a bijector that takes none, got {context} "
                f"for {name}."
            )
        self.context = linear_between(self.feature_shape, (context,)) if context else None
        self.latent_shape = self.bijector.latent_shape
        self.latent_support = self.bijector.codomain
        self.kind = Likelihood.EXACT | self.bijector.logdet_kind

    def _forward(self, features: Tensor) -> FlowPosterior:
        mu = self.mu(features)
        log_var = softly_bounded(self.log_var(features), self.max_log_var)
        context = None if self.context is None else self.context(features)
        return FlowPosterior(DiagonalGaussian(mu, log_var), self.bijector, context, features.dtype)
