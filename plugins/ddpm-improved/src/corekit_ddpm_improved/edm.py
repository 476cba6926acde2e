"""EDM: a network that sees and says numbers of size 1 at every noise level."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import Condition, NoiseLevel, Prediction
from corekit_ddpm_improved.weighted_losses import v_error

FURTHEST = 40.0
"""The largest log-SNR, in absolute value, that a network is told."""


class Edm(Denoiser):
    r"""A network with the preconditioning of EDM: its input and its target have unit variance.

    .. math::
        \hat x_0 = c_{skip} \tilde x + c_{out} F(c_{in} \tilde x,\, c_{noise}), \qquad
        \tilde x = x_t / \alpha, \quad s = \sigma / \alpha

        c_{skip} = \frac{s_d^2}{s^2 + s_d^2}, \quad c_{out} = \frac{s s_d}{\sqrt{s^2 + s_d^2}},
        \quad c_{in} = \frac{1}{\sqrt{s^2 + s_d^2}}, \quad c_{noise} = \tfrac14 \ln s

    s is Karras' sigma, s_d the standard deviation of the data. Any schedule will do, one that ends
    without signal too, as alpha is never divided by. F is any denoiser: its raw output is taken for
    F, whatever it says that it predicts, and c_noise is what it is told in place of the time. If it
    learns variances, they are passed on.

    Args:
        event_shape, condition_shapes, out_channels: As of the network.
        net: Factory of the network, called with these.
        sigma_data: s_d.

    Shape: x_t ``(B, *event_shape)``; output x_0, the same, or as the network doubles its channels.

    Source: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models,
        NeurIPS 2022, eq. 7 and table 1, https://arxiv.org/abs/2206.00364.
    """

    predicts = "x_0"

    def __init__(
        self,
        event_shape: Shape,
        condition_shapes: Mapping[str, Shape] | None = None,
        out_channels: int | None = None,
        *,
        net: Callable[..., Denoiser],
        sigma_data: float = 0.5,
    ) -> None:
        super().__init__()
        _check_sigma_data("Edm", sigma_data)
        self.sigma_data = sigma_data
        self.net = net(
            event_shape=event_shape,
            condition_shapes=condition_shapes or {},
            out_channels=out_channels,
        )
        self.event_shape, self.condition_shapes = self.net.event_shape, self.net.condition_shapes
        self.channel_axis, self.free_axes = self.net.channel_axis, self.net.free_axes
        self.variance, self.self_condition = self.net.variance, self.net.self_condition

    def prepared(self, condition: Condition | None) -> Denoiser:
        """The same around what the network prepares."""
        ready = self.net.prepared(condition)
        if ready is self.net:
            return self
        given = self.event_shape, self.condition_shapes
        wrapped = Edm(*given, net=lambda **k: ready, sigma_data=self.sigma_data)
        return wrapped.train(self.training)

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        alpha, sigma = level.alpha, level.sigma
        total = (sigma.square() + (alpha * self.sigma_data).square()).sqrt()
        skip = alpha * self.sigma_data**2 / total.square()  # c_skip / alpha
        out = sigma * self.sigma_data / total
        s = (sigma.log() - alpha.log()).clamp(-FURTHEST / 2, FURTHEST / 2)
        told = level._replace(time=s / 4)
        f = self.net(_per_row(1 / total, x_t) * x_t, told, condition, previous=previous)
        if not self.learns_variance:
            return _per_row(skip, x_t) * x_t + _per_row(out, x_t) * f.to(x_t.dtype)
        f, said = f.chunk(2, dim=1 + self.channel_axis)
        x_0 = _per_row(skip, x_t) * x_t + _per_row(out, x_t) * f.to(x_t.dtype)
        return torch.cat([x_0, said.to(x_t.dtype)], dim=1 + self.channel_axis)


class EdmSigmas(NoiseSchedule):
    r"""Noise that is added to the data as they are, up to many times their size.

    .. math:: \alpha = 1, \qquad \sigma(\tau) = \frac{\sigma_{max}}{\sigma_{max} - \sigma_{min}}
        \Big(\big(\sigma_{min}^{1/\rho} + \tau (\sigma_{max}^{1/\rho} - \sigma_{min}^{1/\rho})
        \big)^\rho - \sigma_{min}\Big)

    which is the spacing of Karras et al., moved so that time 0 is clean. Samplers with even steps
    take their grid exactly: sigma_max ... sigma_min, then 0 (`times`). Train with timesteps
    ``ddpm.log_normal``.

    Args:
        sigma_min, sigma_max: The last noise before clean data, and the most.
        rho: How much finer the steps are at low noise.

    Raises:
        UsageError: If not 0 < sigma_min < sigma_max, or rho < 1.

    Source: Karras et al., NeurIPS 2022, eq. 5 and table 1, https://arxiv.org/abs/2206.00364.
    """

    def __init__(
        self, sigma_min: float = 0.002, sigma_max: float = 80.0, *, rho: float = 7.0
    ) -> None:
        if not 0 < sigma_min < sigma_max or rho < 1:
            raise UsageError(
                "EdmSigmas: it must be 0 < sigma_min < sigma_max and rho >= 1, got "
                f"{sigma_min}, {sigma_max} and {rho}."
            )
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho
        self._stretch = (sigma_max / sigma_min) ** (1 / rho) - 1
        self._scale = sigma_max * sigma_min / (sigma_max - sigma_min)

    @property
    def default_steps(self) -> int:
        """18, as for CIFAR-10."""
        return 18

    def at(self, time: Tensor) -> NoiseLevel:
        """The level at any times in [0, 1]."""
        root = torch.log1p(self._stretch * time)  # digits are kept near time 0
        sigma = self._scale * torch.expm1(self.rho * root)
        slope = self._scale * self.rho * self._stretch * torch.exp((self.rho - 1) * root)
        one = torch.ones_like(time)
        return NoiseLevel(time, one, sigma, 0 * one, slope, -2 * sigma.log())

    def time_of(self, log_snr: Tensor) -> Tensor:
        """The time at which sigma = exp(-log_snr / 2)."""
        return self._time(torch.exp(-log_snr / 2))

    def times(self, steps: int) -> Tensor:
        """The grid of Karras et al., and 0."""
        high, low = (s ** (1 / self.rho) for s in (self.sigma_max, self.sigma_min))
        grid = torch.linspace(high, low, max(steps, 2), dtype=torch.float64)[:steps] ** self.rho
        times = self._time(grid)
        times[0] = 1
        return torch.cat([times, torch.zeros(1, dtype=torch.float64)])

    def _time(self, sigma: Tensor) -> Tensor:
        return torch.expm1(torch.log1p(sigma / self._scale) / self.rho) / self._stretch


class EdmLoss(DenoisingLoss):
    r"""Squared error of x_0 with the weight that makes it the error of F, see `Edm`.

    .. math:: \ell = \frac{s^2 + s_d^2}{(s s_d)^2}\, \tfrac1D |\hat x_0 - x_0|^2
        = \tfrac1D |F - F^*|^2, \qquad s = \sigma / \alpha

    Any denoiser may meet it, `Edm` or not.

    Args:
        sigma_data: s_d, the standard deviation of the data; as of the denoiser.

    Shape: result ``(B,)``, squared error per coordinate.

    Source: Karras et al., NeurIPS 2022, eq. 8 and table 1, https://arxiv.org/abs/2206.00364.
    """

    name = "edm"
    unit = "squared error per coordinate"

    def __init__(self, sigma_data: float = 0.5) -> None:
        super().__init__()
        _check_sigma_data("EdmLoss", sigma_data)
        self.sigma_data = sigma_data

    def forward(
        self, prediction: Prediction, x_0: Tensor, x_t: Tensor, eps: Tensor, level: NoiseLevel
    ) -> Tensor:
        """The weighted error of each row."""
        error = v_error(prediction, x_0, eps, level)
        signal, noise = (s.to(error.dtype).square() for s in (level.alpha, level.sigma))
        of_data = self.sigma_data**2
        return (noise + of_data * signal) / (of_data * (signal + noise).square()) * error


def _per_row(value: Tensor, like: Tensor) -> Tensor:
    return value.to(like.dtype).reshape(-1, *(1,) * (like.ndim - 1))


def _check_sigma_data(who: str, sigma_data: float) -> None:
    if not 0 < sigma_data < math.inf:
        raise UsageError(f"{who}: sigma_data must be positive, got {sigma_data}.")
