"""The constant of an unnormalised density: by importance sampling, and annealed."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.flows.targets import LogDensity
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws, Randomness, as_draws


class Evidence(NamedTuple):
    """What weighted draws say about log Z.

    Attributes:
        log_z: log of the mean weight, nats. The mean weight is unbiased for Z.
        error: Its standard error, nats, to first order.
        ess: How many equally weighted draws are worth as much, (sum w)^2 / sum w^2.
        draws: How many there were. An ess far below it says that log_z and its error are not to be
            trusted; a mode that no draw has seen leaves no trace in either.
    """

    log_z: float
    error: float
    ess: float
    draws: int


class Weighted(NamedTuple):
    """Draws with weights.

    Shape: x ``(n, *event_shape)``; log_weights ``(n,)``; accepted, the share of moves that were
    accepted at each temperature, ``(T,)``, empty without moves.
    """

    x: Tensor
    log_weights: Tensor
    accepted: Tensor

    def evidence(self) -> Evidence:
        """log Z with its error."""
        return evidence(self.log_weights)


def evidence(log_weights: Tensor) -> Evidence:
    """log Z from log-weights ``(n,)``, n at least 2."""
    n = len(log_weights)
    log_w = log_weights.double()
    log_z = (torch.logsumexp(log_w, 0) - math.log(n)).item()
    relative = (log_w - log_z).exp()  # of mean 1
    error = relative.std().item() / math.sqrt(n)
    return Evidence(log_z, error, n / relative.square().mean().item(), n)


@torch.no_grad()
def importance_sample(
    flow: Density, target: LogDensity, n: int, *, generator: Randomness = None
) -> Weighted:
    r"""n draws from a flow with weights :math:`w = \tilde p(x) / q(x)`.

    Args:
        flow: q, with an exact density.
        target: log of the unnormalised density.
        n: How many.
        generator: Where the noise comes from.
    """
    draws = as_draws(generator)
    x = flow.sample(n, generator=draws)
    log_w = target(x) - flow.log_prob(x, generator=draws).value
    return Weighted(x, log_w, log_w.new_zeros(0))


def anneal(
    flow: Density,
    target: LogDensity,
    n: int,
    *,
    temperatures: int = 32,
    step_size: float = 0.2,
    leapfrog: int = 5,
    generator: Randomness = None,
) -> Weighted:
    r"""Annealed importance sampling from a flow to a target, with Hamiltonian moves between.

    .. math:: \log \pi_\beta = (1 - \beta) \log q + \beta \log \tilde p, \qquad
        \log w = \sum_{t=1}^{T} (\beta_t - \beta_{t-1}) \log \frac{\tilde p(x_{t-1})}{q(x_{t-1})}

    x_t is x_{t-1} after one move that leaves pi at beta_t as it is. The mean weight is unbiased for
    Z whatever the moves; good ones make it precise.

    Args:
        flow: q, with an exact density.
        target: log of the unnormalised density, differentiable.
        n: How many draws.
        temperatures: T; beta goes from 0 to 1 in as many equal steps.
        step_size: Of a leapfrog step.
        leapfrog: Steps of a move; with 1 it is the Metropolis-adjusted Langevin algorithm.
        generator: Where the noise comes from.

    Raises:
        UsageError: If an option is out of range.

    Source: Neal, Annealed Importance Sampling, 2001, https://arxiv.org/abs/physics/9803008; Neal,
        MCMC using Hamiltonian dynamics, 2011, https://arxiv.org/abs/1206.1901.
    """
    if temperatures < 1 or leapfrog < 1 or not step_size > 0:
        raise UsageError(
            "anneal: temperatures and leapfrog must be at least 1 and step_size positive, got "
            f"{temperatures}, {leapfrog} and {step_size}."
        )
    draws = as_draws(generator)
    x = flow.sample(n, generator=draws)
    log_w, shares = x.new_zeros(n), []
    for t in range(1, temperatures + 1):
        beta = t / temperatures

        def log_density(x: Tensor, beta: float = beta) -> Tensor:
            return (1 - beta) * flow.log_prob(x).value + beta * target(x)

        with torch.no_grad():
            log_w = log_w + (target(x) - flow.log_prob(x).value) / temperatures
        x, accepted = hamiltonian_move(x, log_density, step_size, leapfrog, draws)
        shares.append(accepted.to(x.dtype).mean())
    return Weighted(x, log_w, torch.stack(shares))


def hamiltonian_move(
    x: Tensor, log_density: LogDensity, step_size: float, leapfrog: int, draws: Draws
) -> tuple[Tensor, Tensor]:
    """One move that leaves a density as it is: (x, whether it was accepted ``(n,)``)."""
    momentum = draws.normal("momentum", tuple(x.shape), x)
    value, slope = _slope(log_density, x)
    moved, new, p = x, value, momentum
    for _ in range(leapfrog):
        p = p + 0.5 * step_size * slope
        moved = moved + step_size * p
        new, slope = _slope(log_density, moved)
        p = p + 0.5 * step_size * slope
    gain = new - value + 0.5 * (momentum.square() - p.square()).flatten(1).sum(1)
    u = draws.uniform("accept", (len(x),), x)
    accepted = u.log() < gain  # a NaN is not accepted
    keep = accepted.reshape(-1, *(1,) * (x.ndim - 1))
    return torch.where(keep, moved, x), accepted


def _slope(log_density: LogDensity, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = log_density(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), slope
