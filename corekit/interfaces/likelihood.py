"""What a log-likelihood number is: exact, a weight, unbiased, a bound, or none."""

import math
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.errors import NoDensity, ShapeError


class Likelihood(str, Enum):
    """What ``value`` says about log p(x), from the strongest promise to the weakest.

    - ``exact``: value = log p(x).
    - ``weight``: E[exp(value)] = p(x) (dequantisation, importance weights, a one-draw ELBO).
    - ``unbiased``: E[value] = log p(x) (Hutchinson's trace estimate, roulette series).
    - ``bound``: E[value] <= log p(x) (an averaged ELBO, a diffusion bound).
    - ``none``: no likelihood (beta != 1, perceptual terms, a mean instead of a sum).
    """

    EXACT = "exact"
    WEIGHT = "weight"
    UNBIASED = "unbiased"
    BOUND = "bound"
    NONE = "none"

    def __or__(self, other: "Likelihood") -> "Likelihood":
        """The kind of a sum of two independent terms: the weaker; weight + unbiased is a bound."""
        if {self, other} == {Likelihood.WEIGHT, Likelihood.UNBIASED}:
            return Likelihood.BOUND
        return max(self, other, key=_STRENGTH.index)


_STRENGTH = list(Likelihood)


class LogProb(NamedTuple):
    """A log-likelihood in nats with what it is.

    Shape: value ``(B,)``, nats.
    """

    value: Tensor
    kind: Likelihood = Likelihood.EXACT

    def __add__(self, other: "LogProb") -> "LogProb":  # type: ignore[override]
        """log p + log q, of the weaker kind."""
        return LogProb(self.value + other.value, self.kind | other.kind)

    def __sub__(self, other: "LogProb") -> "LogProb":
        """log p - log q; q must be exact or the difference is nothing one can name."""
        kind = self.kind if other.kind is Likelihood.EXACT else Likelihood.NONE
        return LogProb(self.value - other.value, kind)


def importance_bound(log_weights: LogProb, draws: int) -> LogProb:
    r"""log (1/K) sum_k exp(log w_k), for K draws per row laid out draw by draw.

    .. math:: \log \hat p(x) = \log \tfrac1K \sum_k w_k, \qquad E[\hat p(x)] = p(x)

    Only exact numbers and weights may be averaged inside the logarithm. The exponential of an
    unbiased estimate or of a bound overstates p(x), so those are refused.

    Shape: log_weights.value ``(K * B,)``; result ``(B,)``, nats, kind ``weight``.
    Raises: NoDensity: if the weights are neither exact nor weights.
    Source: Burda et al., Importance Weighted Autoencoders, ICLR 2016, eq. 8,
        https://arxiv.org/abs/1509.00519.
    """
    if log_weights.kind not in (Likelihood.EXACT, Likelihood.WEIGHT):
        raise NoDensity(
            "importance_bound: log weights must be exact or weights, "
            f"got '{log_weights.kind.value}'. The log-mean-exp of such numbers overstates "
            "log p(x). Average them instead: the mean is a bound."
        )
    if log_weights.value.shape[0] % draws:
        raise ShapeError(
            f"importance_bound: the number of rows must be a multiple of draws={draws}, "
            f"got {log_weights.value.shape[0]}."
        )
    stacked = log_weights.value.reshape(draws, -1)
    return LogProb(torch.logsumexp(stacked, 0) - math.log(draws), Likelihood.WEIGHT)


def weakest(kinds: Sequence[Likelihood]) -> Likelihood:
    """The kind of a sum of many terms."""
    total = Likelihood.EXACT
    for kind in kinds:
        total = total | kind
    return total
