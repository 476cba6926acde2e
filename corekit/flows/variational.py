"""A flow fitted to a density that is known up to a constant: no data."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Factory
from corekit.flows.prior import FlowPrior
from corekit.flows.targets import TARGETS, LogDensity
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.model import DensityModel
from corekit.interfaces.records import Batch, LossTerms

Gradient = Literal["path", "total"]


class VariationalFlow(DensityModel):
    r"""Fit a flow q to an unnormalised density by draws from the flow itself.

    With :math:`w_k = \tilde p(x_k) / q(x_k)`, x_k drawn from q, and :math:`0 \le \alpha \le 1`,

    .. math:: F_\alpha = -\frac{1}{1 - \alpha} \log \frac1K \sum_k w_k^{1 - \alpha},
        \qquad F_1 = -\frac1K \sum_k \log w_k, \qquad E[F_\alpha] \ge -\log Z

    F_1 is the reverse Kullback-Leibler divergence less log Z, and settles on one mode of several if
    it must choose; F_0 with many draws is the importance-weighted bound, and covers them.

    ========  ====================================================================================
    gradient  of F
    ========  ====================================================================================
    path      through the draws alone, the weights of each being :math:`\alpha v_k + (1 - \alpha)
              v_k^2` with :math:`v_k = w_k^{1 - \alpha} / \sum_j w_j^{1 - \alpha}`: as right on
              average, and without noise where q is p ("sticking the landing", DReG)
    total     as autograd finds it
    ========  ====================================================================================

    Of a batch only the number of rows counts: each row is one F of K draws.

    Args:
        data: Shape of an event; the rest of the data is not looked at.
        bijector: Factory of the map from x to latent. It is run backwards in training: a coupling,
            or an inverse autoregressive flow, does that in one pass.
        base: Factory of a base density without parameters, standard normal unless given.
        target: Name of one of `corekit.flows.targets.TARGETS`, or, in Python, any function of x
            ``(B, *event_shape)`` that gives the log of an unnormalised density ``(B,)``.
        alpha: alpha.
        particles: K.
        gradient: path or total.

    Shape: loss ``(B,)``, nats: F.

    Raises:
        UsageError: If an option is out of range, the base is learned, or the log-determinant is an
            estimate.
        ShapeError: If a named target has another event shape.

    Source: Roeder et al., Sticking the Landing, NeurIPS 2017, https://arxiv.org/abs/1703.09194; Li
        and Turner, Renyi Divergence Variational Inference, NeurIPS 2016,
        https://arxiv.org/abs/1602.02311; Tucker et al., Doubly Reparameterized Gradient Estimators,
        ICLR 2019, https://arxiv.org/abs/1810.04152.
    """

    density: FlowPrior

    def __init__(
        self,
        data: DataSpec,
        *,
        bijector: "Factory | Bijector",
        base: Callable[..., Density] | None = None,
        target: str | LogDensity = "banana",
        alpha: float = 1.0,
        particles: int = 1,
        gradient: Gradient = "path",
    ) -> None:
        super().__init__(data, FlowPrior(data.event_shape, None, bijector=bijector, base=base))
        if not 0 <= alpha <= 1 or particles < 1:
            raise UsageError(
                "VariationalFlow: alpha must lie in [0, 1] and particles be at least 1, got "
                f"{alpha} and {particles}."
            )
        if gradient not in ("path", "total"):
            raise UsageError(f"VariationalFlow: gradient must be path or total, got {gradient!r}.")
        learned = next(self.density.base.parameters(), None) is not None
        if learned or self.density.kind is not Likelihood.EXACT:
            raise UsageError(
                "VariationalFlow: the flow must have an exact density and a base without "
                f"parameters, got kind '{self.density.kind.value}' and the base "
                f"{type(self.density.base).__name__}. Learn an affine layer instead."
            )
        self.target = _named(target, data) if isinstance(target, str) else target
        self.alpha, self.particles, self.gradient = alpha, particles, gradient

    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """F for each row of a batch, from draws of the flow."""
        source, rows = as_draws(draws), len(batch.x)
        weights = [self._log_weight(rows, source) for _ in range(self.particles)]
        energy = self._free_energy(torch.stack(weights))
        return LossTerms(energy, {"free_energy": energy}, units={"free_energy": "nats"})

    @hands_on
    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Layers that start from data start from draws of the base, where they can."""
        z = self.density.base.sample(len(batch.x), generator=as_draws(draws))
        self.density.bijector.initialize_inverse(z)

    def _log_weight(self, rows: int, draws: Draws) -> Tensor:
        """log w of one draw per row, ``(B,)``; with gradients of the path alone, or all of them."""
        z = self.density.base.sample(rows, generator=draws)
        x, logdet = self.density.bijector.inverse(z)
        if self.gradient == "path":
            with without_parameters(self.density):
                log_q = self.density.log_prob(x).value
        else:
            log_q = self.density.base.log_prob(z).value - logdet
        return self.target(x).to(log_q.dtype) - log_q

    def _free_energy(self, log_w: Tensor) -> Tensor:
        """F ``(B,)`` of log-weights ``(K, B)``."""
        beta = 1 - self.alpha
        if beta == 0:
            return -log_w.mean(0)
        energy = -(torch.logsumexp(beta * log_w, 0) - math.log(len(log_w))) / beta
        if self.gradient == "total":
            return energy
        share = torch.softmax(beta * log_w.detach(), dim=0)
        path = -((self.alpha * share + beta * share.square()) * log_w).sum(0)
        return energy.detach() + path - path.detach()


@contextmanager
def without_parameters(module: nn.Module) -> Iterator[None]:
    """A block in which nothing is recorded for the gradients of a module's parameters."""
    learned = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)


def _named(name: str, data: DataSpec) -> LogDensity:
    if name not in TARGETS:
        raise UsageError(
            f"VariationalFlow: target must be one of {', '.join(TARGETS)}, got {name!r}."
        )
    target = TARGETS[name]
    if tuple(data.event_shape) != target.event_shape:
        raise ShapeError(
            f"VariationalFlow: the data must have the event shape {target.event_shape} of the "
            f"target '{name}', got {tuple(data.event_shape)}."
        )
    return target.log_density
