"""Whether a number is the kind of likelihood that it claims to be."""

from __future__ import annotations

import math

import torch

from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.testing.check import expect
from corekit.testing.statistics import ERRORS, expect_mean


def expect_kind(what: str, claimed: LogProb, truth: float, tolerance: float = 1e-8) -> str:
    """Fail unless many independent values of one log-density are what their kind says.

    ``exact``: each is the truth. ``weight``: E[exp(value - truth)] = 1. ``unbiased``: E[value] =
    truth. ``bound``: E[value] <= truth. Averages may be 5 standard errors away. A kind that is
    weaker than need be (an exact number called a bound) passes.

    Args:
        what: What the values are called in the error.
        claimed: Values ``(N,)``, of the same event, and their kind.
        truth: log p of the event, nats.
        tolerance: Of exact values, absolute and relative.
    """
    values, kind = claimed.value.detach().double(), claimed.kind
    expect(bool(values.isfinite().all()), f"{what} must be finite, got NaN or infinity.")
    if kind is Likelihood.EXACT:
        error = (values - truth).abs().max().item()
        expect(
            error <= tolerance * (1 + abs(truth)),
            f"{what} claims to be exact and must be {truth:.6g}, got an error of {error:.3g}. "
            "If it is an estimate or a bound, say so in its kind.",
        )
        return f"exact, error {error:.1e}"
    if kind is Likelihood.WEIGHT:
        return expect_mean(f"E[exp(value)] / p of {what}", torch.exp(values - truth), 1.0)
    if kind is Likelihood.UNBIASED:
        return expect_mean(f"E[value] of {what}", values, truth)
    mean, error = values.mean().item(), values.std().item() / math.sqrt(len(values))
    expect(
        mean - truth <= ERRORS * error + 1e-9 * (1 + abs(truth)),
        f"E[value] of {what} must be at most {truth:.5g}, as it is a bound, got {mean:.5g} +- "
        f"{error:.2g} over {len(values)} values.",
    )
    return f"bound: {mean:.5g} +- {error:.2g} below {truth:.5g}"
