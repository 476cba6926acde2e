"""Averages with their error, and what samples say about a density."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corekit.data_spec import Support
from corekit.testing.check import expect

ERRORS = 5.0
"""Standard errors that an average may be away from the truth."""


def expect_mean(what: str, values: Tensor, want: float, hint: str = "") -> str:
    """Fail unless the mean of independent values ``(N,)`` is ``want``, within 5 standard errors."""
    values = values.detach().double()
    mean = values.mean().item()
    error = values.std().item() / math.sqrt(len(values)) + 1e-9 * (1 + abs(want))
    expect(
        abs(mean - want) <= ERRORS * error,
        f"{what} must be {want:.5g}, got {mean:.5g} +- {error:.2g} over {len(values)} draws."
        f"{' ' if hint else ''}{hint}",
    )
    return f"{mean:.5g} +- {error:.2g} for {want:.5g}"


def density_ratio(x: Tensor, log_p: Tensor) -> Tensor:
    r"""u(x) / p(x) for a Gaussian u inside the cloud of samples, ``(N,)``; its mean is 1.

    .. math:: E_{x \sim p}[u(x) / p(x)] = \int u(x)\, dx = 1

    if x follows p, and log_p is its logarithm with every constant. u has the mean of the samples
    and 0.5 times their covariance, so that the ratio stays small in the tails.

    Shape: x ``(N, D)``; log_p ``(N,)``, nats.
    """
    x, log_p = x.detach().double(), log_p.detach().double()
    # Fitted on every second sample and used on the others: u must not depend on what it weighs.
    covariance = torch.atleast_2d(x[::2].T.cov()) * 0.5 + 1e-12 * torch.eye(x.shape[1]).double()
    u = torch.distributions.MultivariateNormal(x[::2].mean(0), covariance)
    return (u.log_prob(x[1::2]) - log_p[1::2]).exp()


def sphere_ratio(x: Tensor, log_p: Tensor) -> Tensor:
    """The same on the unit sphere: the uniform density over p, ``(N,)``; its mean is 1.

    Shape: x ``(N, D)``; log_p ``(N,)``, nats relative to area.
    """
    half = x.shape[1] / 2
    log_area = math.log(2) + half * math.log(math.pi) - math.lgamma(half)
    return (-log_area - log_p.detach().double()).exp()


def lies_on(x: Tensor, support: Support) -> bool:
    """Whether rows ``(B, ...)`` lie on a support."""
    if support is Support.POSITIVE:
        return bool((x >= 0).all())
    if support is Support.UNIT_INTERVAL:
        return bool(((x >= 0) & (x <= 1)).all())
    if support is Support.SPHERE:
        return torch.allclose(x.flatten(1).norm(dim=1), torch.ones(len(x), dtype=x.dtype))
    if support is Support.SIMPLEX:
        return bool((x >= 0).all())
    return support is not Support.CODES or torch.equal(x, x.round())
