"""Errors in place of likelihoods: log cosh, and squares. No nats."""

import math
from collections.abc import Mapping
from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.observation import Observation
from corekit.interfaces.precision import wide

Output = Literal["none", "tanh", "sigmoid"]


class _Error(Observation):
    """What is minimised is an error between x and what the network gives."""

    kind = Likelihood.NONE

    def mean(self, parameters: Tensor) -> Tensor:
        """What the network gives."""
        return parameters

    def sample(self, parameters: Tensor, temperature: float, draws: Draws) -> Tensor:
        """What the network gives: an error has no noise."""
        return self.mean(parameters)


class SquaredError(_Error):
    r"""The mean or the sum of squares.

    .. math:: L = \tfrac1D \sum_d (x_d - m_d)^2, \quad \text{or without } 1/D

    A mean beside a weight w of the KL is, up to a factor, the Gaussian likelihood of
    s^2 = D w / 2: with D = 12,288 and w = 0.00025 that is s = 1.24 on data in [0, 1].

    Args:
        event_shape: Shape of x without the batch.
        reduction: "mean" or "sum" over the elements of an event.
        output: Last activation: "none", "tanh" or "sigmoid".

    Shape: parameters and x ``(B, *event_shape)``; loss ``(B,)``, squared data units.
    """

    unit = "squared error"

    def __init__(
        self,
        event_shape: Shape,
        *,
        reduction: Literal["mean", "sum"] = "mean",
        output: Output = "none",
    ) -> None:
        super().__init__(event_shape)
        if reduction not in ("mean", "sum") or output not in ("none", "tanh", "sigmoid"):
            raise UsageError(
                "SquaredError: reduction must be 'mean' or 'sum' and output 'none', 'tanh' or "
                f"'sigmoid', got {reduction!r} and {output!r}."
            )
        self.reduction, self.output = reduction, output

    def mean(self, parameters: Tensor) -> Tensor:
        """What the network gives, through the last activation."""
        if self.output == "none":
            return parameters
        return parameters.tanh() if self.output == "tanh" else parameters.sigmoid()

    def _loss(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        squares = (wide(self.mean(parameters)) - wide(x)).square().flatten(1)
        found = squares.mean(1) if self.reduction == "mean" else squares.sum(1)
        return found, {"mse" if self.reduction == "mean" else "squared_error": found}


class LogCosh(_Error):
    r"""The mean log cosh of the error: a square where it is small, its absolute value elsewhere.

    .. math:: L = \tfrac{1}{D a} \sum_d \log\cosh(a t_d), \qquad t = x - m

    Args:
        event_shape: Shape of x without the batch.
        sharpness: a, per data unit, positive.

    Shape: parameters and x ``(B, *event_shape)``; loss ``(B,)``, data units.

    Source: Chen et al., Log Hyperbolic Cosine Loss Improves Variational Auto-Encoder, 2019,
        https://openreview.net/forum?id=rkglvsC9Ym.
    """

    unit = "log cosh error"

    def __init__(self, event_shape: Shape, *, sharpness: float = 10.0) -> None:
        super().__init__(event_shape)
        if not sharpness > 0:
            raise UsageError(f"LogCosh: sharpness must be positive, got {sharpness}.")
        self.sharpness = sharpness

    def _loss(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        at = self.sharpness * (wide(x) - wide(parameters)).abs()
        # log cosh u = u + log(1 + exp(-2u)) - log 2, of u >= 0
        each = (at + softplus(-2 * at) - math.log(2)) / self.sharpness
        found = each.flatten(1).mean(1)
        return found, {"log_cosh": found}
