"""The Gaussian likelihood, with four ways to its scale, and the Laplace likelihood."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.observation import Observation
from corekit.interfaces.precision import wide

Variance = Literal["fixed", "learned", "optimal", "network"]
_MOMENTUM = 0.01


class Gaussian(Observation):
    r"""Independent Gaussian elements around what the network gives.

    .. math:: \log p(x \mid m) = -\tfrac12 \sum_d \big[(x_d - m_d)^2 / s^2 + \log 2\pi s^2\big]

    The weight of the KL in an ELBO is a choice of s: half the summed squared error plus beta times
    the KL is, up to a constant and a factor, this likelihood with s^2 = beta.

    Args:
        event_shape: Shape of x without the batch.
        scale: s, data units; where it starts, if it moves.
        variance: "fixed": s is given; "learned": one s that gradients move; "optimal": in training
            s^2 is the mean squared error of the batch, which maximises its likelihood, and
            evaluation takes a running mean; "network": one s for each element, from the network.
        floor: Least s, data units.

    Shape: parameters: means ``(B, *event_shape)``; with "network" twice the channels, means before
        what scales are made of; x ``(B, *event_shape)``; log_prob ``(B,)``, nats.

    Source: Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders, ICML 2021,
        sec. 3, https://arxiv.org/abs/2006.13202.
    """

    log_scale: Tensor

    def __init__(
        self,
        event_shape: Shape,
        *,
        scale: float = 1.0,
        variance: Variance = "fixed",
        floor: float = 1e-3,
    ) -> None:
        super().__init__(event_shape)
        for name, value in (("scale", scale), ("floor", floor)):
            if not value > 0:
                raise UsageError(f"Gaussian: {name} must be positive, got {value}.")
        if variance not in ("fixed", "learned", "optimal", "network"):
            raise UsageError(
                "Gaussian: variance must be 'fixed', 'learned', 'optimal' or 'network', got "
                f"{variance!r}."
            )
        self.variance, self.floor = variance, floor
        if variance == "network":
            self.parameter_shape = (2 * event_shape[0], *event_shape[1:])
            # softplus(0 + offset) = scale: a network that gives zeros starts at it
            self.offset = math.log(math.expm1(scale))
        elif variance == "learned":
            self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        else:
            self.register_buffer("log_scale", torch.tensor(math.log(scale)))

    def mean(self, parameters: Tensor) -> Tensor:
        """m."""
        return parameters.chunk(2, 1)[0] if self.variance == "network" else parameters

    def sample(self, parameters: Tensor, temperature: float, draws: Draws) -> Tensor:
        """m plus noise."""
        mean = self.mean(parameters)
        if temperature == 0:
            return mean
        noise = draws.normal("x", tuple(mean.shape), mean)
        return mean + temperature * self._log_scale_of(parameters).exp().to(mean.dtype) * noise

    def _log_scale_of(self, parameters: Tensor) -> Tensor:
        if self.variance == "network":
            raw = wide(parameters.chunk(2, 1)[1])
            return softplus(raw + self.offset).clamp(min=self.floor).log()
        return self.log_scale.clamp(min=math.log(self.floor))

    def _log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        return self._scored(parameters, x, self._log_scale_of(parameters))

    def _scored(self, parameters: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
        squares = self._squares(parameters, x) * (-2 * log_scale).exp()
        each = squares + 2 * log_scale + math.log(2 * math.pi)
        return -0.5 * each.flatten(1).sum(1)

    def _squares(self, parameters: Tensor, x: Tensor) -> Tensor:
        return (wide(x) - wide(self.mean(parameters))).square()

    def _loss(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        if self.variance != "optimal" or not self.training:
            return super()._loss(parameters, x)
        mse = self._squares(parameters, x).mean().clamp(min=self.floor**2)
        nll = -self._scored(parameters, x, 0.5 * mse.log())
        with torch.no_grad():
            variance = torch.lerp((2 * self.log_scale).exp(), mse.to(self.log_scale), _MOMENTUM)
            self.log_scale.copy_(0.5 * variance.log())
        return nll, {"nll": nll}


class Laplace(Observation):
    r"""Independent Laplace elements around what the network gives: absolute errors.

    .. math:: \log p(x \mid m) = -\sum_d |x_d - m_d| / b + \log 2b

    Args:
        event_shape: Shape of x without the batch.
        scale: b, data units.
        learn_scale: Whether b is a parameter (its logarithm is), starting there.

    Shape: parameters: means ``(B, *event_shape)``; x the same; log_prob ``(B,)``, nats.
    """

    log_scale: Tensor

    def __init__(
        self, event_shape: Shape, *, scale: float = 1.0, learn_scale: bool = False
    ) -> None:
        super().__init__(event_shape)
        if not scale > 0:
            raise UsageError(f"Laplace: scale must be positive, got {scale}.")
        start = torch.tensor(math.log(scale))
        if learn_scale:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    def mean(self, parameters: Tensor) -> Tensor:
        """m."""
        return parameters

    def sample(self, parameters: Tensor, temperature: float, draws: Draws) -> Tensor:
        """m plus noise: b sign(v) log(1 - 2 |v|) of v uniform on (-1/2, 1/2)."""
        if temperature == 0:
            return parameters
        v = draws.uniform("x", tuple(parameters.shape), parameters.double()) - 0.5
        noise = -v.sign() * torch.log1p((-2 * v.abs()).clamp(min=-1 + 2.0**-54))
        return parameters + temperature * self.log_scale.exp() * noise.to(parameters.dtype)

    def _log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        error = (wide(x) - wide(parameters)).abs() * (-self.log_scale).exp()
        return -(error + self.log_scale + math.log(2)).flatten(1).sum(1)
