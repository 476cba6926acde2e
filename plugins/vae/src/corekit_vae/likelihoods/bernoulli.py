"""Likelihoods on the unit interval: black or white, and the continuous Bernoulli."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.observation import Observation
from corekit.interfaces.precision import wide


class Bernoulli(Observation):
    r"""Each element is 1 with a probability of its own, else 0.

    .. math:: \log p(x \mid l) = \sum_d x_d \log \sigma(l_d) + (1 - x_d) \log \sigma(-l_d)

    Args:
        event_shape: Shape of x without the batch.
        gray: Take values between 0 and 1 as well: then this is a cross-entropy, the density of
            nothing, and its kind is ``none``.

    Shape: parameters: logits l ``(B, *event_shape)``; x the same, 0 or 1; log_prob ``(B,)``, nats.

    Raises:
        UsageError: By `prepare`, if the data are not two-valued (and ``gray`` is false), or lie
            outside the unit interval.
    """

    support = Support.UNIT_INTERVAL

    def __init__(self, event_shape: Shape, *, gray: bool = False) -> None:
        super().__init__(event_shape)
        self.gray = gray
        if gray:
            self.kind, self.unit = Likelihood.NONE, "cross-entropy"

    def prepare(self, data: DataSpec) -> None:
        """Refuse data that are not 0 and 1."""
        _in_unit_interval("Bernoulli", data)
        if not self.gray and data.levels != 2:
            told = "unknown many" if data.levels is None else data.levels
            raise UsageError(
                f"Bernoulli: data must have 2 levels, 0 and 1, got {told}. Binarize them (data: "
                "{type: binarized, of: ...}), take vae.continuous_bernoulli for gray values, or "
                "set gray: true for a cross-entropy that is no likelihood."
            )

    def mean(self, parameters: Tensor) -> Tensor:
        """The probabilities of 1."""
        return parameters.sigmoid()

    def sample(self, parameters: Tensor, temperature: float, draws: Draws) -> Tensor:
        """0 and 1; logits are divided by the temperature."""
        if self.gray:
            return self.mean(parameters)
        if temperature == 0:
            return (parameters > 0).to(parameters.dtype)
        u = draws.uniform("x", tuple(parameters.shape), parameters)
        return (u < (parameters / temperature).sigmoid()).to(parameters.dtype)

    def _log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        logits, x = wide(parameters), wide(x)
        return -binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)

    def _loss(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        found = -self._log_prob(parameters, x)
        return found, {"cross_entropy" if self.gray else "nll": found}


class ContinuousBernoulli(Observation):
    r"""A density on the unit interval with the exponential tilt of a Bernoulli.

    .. math::
        \log p(x \mid l) = \sum_d x_d l_d - \log(1 + e^{l_d}) + \log \frac{l_d}{\tanh(l_d / 2)}

    The last term is the normaliser that the cross-entropy of gray images lacks.

    Args:
        event_shape: Shape of x without the batch.

    Shape: parameters: logits l ``(B, *event_shape)``; x the same, in [0, 1]; log_prob ``(B,)``,
        nats.

    Raises:
        UsageError: By `prepare`, if the data lie outside the unit interval.

    Source: Loaiza-Ganem and Cunningham, The Continuous Bernoulli, NeurIPS 2019, eq. 5-8,
        https://arxiv.org/abs/1907.06845.
    """

    support = Support.UNIT_INTERVAL

    def prepare(self, data: DataSpec) -> None:
        """Refuse data outside the unit interval."""
        _in_unit_interval("ContinuousBernoulli", data)

    def mean(self, parameters: Tensor) -> Tensor:
        """E[x], which is not the parameter: sigma(l) / tanh(l / 2) - 1 / l."""
        small = parameters.abs() < 1e-2
        safe = parameters.where(~small, torch.ones_like(parameters))
        found = safe.sigmoid() / (safe / 2).tanh() - 1 / safe
        return torch.where(small, 0.5 + parameters / 12, found)

    def sample(self, parameters: Tensor, temperature: float, draws: Draws) -> Tensor:
        """By the inverse of the distribution function; at temperature 0 the mean."""
        if temperature == 0:
            return self.mean(parameters)
        u = draws.uniform("x", tuple(parameters.shape), parameters)
        tilted = parameters / temperature
        down = -tilted.abs()  # the side on which exp stays small; the other is its mirror image
        down = down.where(down < -1e-4, torch.full_like(down, -1e-4))
        x = torch.log1p(u * torch.expm1(down)) / down
        return torch.where(tilted > 0, 1 - x, x)

    def _log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        logits, x = wide(parameters), wide(x)
        each = x * logits - softplus(logits) + _log_normalizer(logits)
        return each.flatten(1).sum(1)


def _log_normalizer(logits: Tensor) -> Tensor:
    """log of l / tanh(l / 2), which is 2 at 0."""
    small = logits.abs() < 1e-2
    safe = logits.abs().where(~small, torch.ones_like(logits))
    found = safe.log() - (safe / 2).tanh().log()
    square = logits.square()
    return torch.where(small, torch.log1p(square / 12 - square.square() / 720) + _LOG2, found)


_LOG2 = 0.6931471805599453


def _in_unit_interval(who: str, data: DataSpec) -> None:
    if data.support is not Support.UNIT_INTERVAL:
        low, high = data.black_and_white
        raise UsageError(
            f"{who}: data must lie in [0, 1], got support '{data.support.value}', black {low:g} "
            f"and white {high:g}. Set data.value_range to [0, 1]."
        )
