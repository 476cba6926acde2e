r"""The probability-flow ODE of a denoiser: an invertible map between data and noise.

At the angle :math:`\phi = \arctan(\sigma / \alpha)`, the scaled state
:math:`y = x / \sqrt{\alpha^2 + \sigma^2}` of any Gaussian process is
:math:`\cos\phi\, x_0 + \sin\phi\, \varepsilon`, and it flows with

.. math:: \frac{dy}{d\phi} = \cos\phi\; \hat\varepsilon(y, \phi) - \sin\phi\; \hat x_0(y, \phi)

from data (0) to noise (pi/2, or where the schedule ends). Nothing in it is singular, at neither
end, for any schedule. Its solution carries the density of the data to that of the noise:

.. math:: \log p(x) = \log N(z; 0, I)
    + \int \mathrm{tr}\, \frac{\partial}{\partial y} \frac{dy}{d\phi}\; d\phi

It starts at the first level of a table, or at 0.001, where data are taken to be what is noised by
that little, and is solved on a fixed grid, even in the root of the angle from there: dense near the
data.

Source: Song et al., Score-Based Generative Modeling through SDEs, ICLR 2021, eq. 13 and 39,
    https://arxiv.org/abs/2011.13456; the angle: Salimans and Ho, Progressive Distillation, ICLR
    2022, app. D, https://arxiv.org/abs/2202.00512.
"""

import math

import numpy as np
import torch
from torch import Tensor

from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.precision import full_precision
from corekit.interfaces.records import NoiseLevel
from corekit.interfaces.sampler import Predict
from corekit.nn.ode import Trace, integrate, probes, with_trace

FIRST_ANGLE = 1e-3
"""Where a continuous schedule starts."""


def ends_of(schedule: NoiseSchedule) -> tuple[float, float]:
    """The angles between which the ODE is solved, from data to noise."""
    if isinstance(schedule, DiscreteSchedule):
        angles = _angles(schedule)
        return float(angles[1 if schedule.steps > 1 else 0]), float(angles[-1])
    times = torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu")
    level = schedule.at(times)
    first, last = torch.atan2(level.sigma, level.alpha).tolist()
    return max(first, FIRST_ANGLE), last


def level_at_angle(schedule: NoiseSchedule, angle: float) -> NoiseLevel:
    """The level ``(1,)`` whose sigma / alpha is the tangent of an angle; float64, on the CPU.

    Between the levels of a table everything is interpolated, the integer step too; alpha and sigma
    are exact.
    """
    alpha, sigma = (torch.full((1,), f(angle), dtype=torch.float64) for f in (math.cos, math.sin))
    if isinstance(schedule, DiscreteSchedule):
        place = max(1.0, float(np.interp(angle, _angles(schedule), np.arange(schedule.steps + 1))))
        below, above = math.floor(place), math.ceil(place)
        time = torch.tensor([below, above], dtype=torch.float64, device="cpu") / schedule.steps
        share, pair = place - below, schedule.at(time)
        level = pair.map(lambda c: torch.lerp(c[:1].double(), c[1:].double(), share))
        return level._replace(alpha=alpha, sigma=sigma)
    time = schedule.time_of(2 * (alpha.log() - sigma.log()))
    level = schedule.at(time)
    size = torch.hypot(level.alpha, level.sigma)
    return level._replace(alpha=size * alpha, sigma=size * sigma)


def solve(
    predict: Predict,
    schedule: NoiseSchedule,
    y: Tensor,
    *,
    to_data: bool = False,
    solver: str = "rk4",
    steps: int = 50,
    trace: Trace | None = None,
) -> tuple[Tensor, Tensor]:
    """Follow the ODE from data to noise, or back.

    Args:
        predict: (x_t, level) -> `Prediction`.
        schedule: Of the levels.
        y: Data, or noise of unit variance, ``(B, *event_shape)``.
        to_data: Backwards.
        solver: rk4, dopri5, midpoint or euler: 4, 6, 2 or 1 calls of the denoiser per step.
        steps: Of the grid.
        trace: How the divergence is found (`corekit.nn.ode.probes`); None: it is not, and 0.

    Returns:
        What y becomes, and log|det| of that map, ``(B,)``, nats.
    """
    first, last = ends_of(schedule)
    dtype = y.dtype
    y = y.to(torch.promote_types(dtype, torch.float32))
    directions = None if trace is None else probes(y, trace)

    def field(time: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        u = time.item()
        angle, speed = first + (last - first) * u * u, 2 * (last - first) * u
        level = _placed(level_at_angle(schedule, angle), y)
        size = torch.hypot(level.alpha, level.sigma).reshape(-1, *(1,) * (y.ndim - 1))

        def velocity(y: Tensor) -> Tensor:
            found = predict((size * y).to(dtype), level)
            return speed * (
                math.cos(angle) * found.eps.to(y.dtype) - math.sin(angle) * found.x_0.to(y.dtype)
            )

        if directions is None:
            return velocity(state[0]), torch.zeros_like(state[1])
        with full_precision(y):  # derivatives in half precision are none
            return with_trace(velocity, state[0], directions)

    start, stop = (1.0, 0.0) if to_data else (0.0, 1.0)
    state = (y, y.flatten(1).sum(1) * 0)
    y, logdet = integrate(field, state, start=start, stop=stop, method=solver, steps=steps)
    return y.to(dtype), logdet


def _angles(schedule: DiscreteSchedule) -> np.ndarray:
    """Of all levels, clean data in front, ``(T + 1,)``."""
    product = np.append(1.0, schedule.alphas_cumprod)
    return np.arctan2(np.sqrt(1 - product), np.sqrt(product))


def _placed(level: NoiseLevel, like: Tensor) -> NoiseLevel:
    """A level ``(1,)`` for every row, where the sample is, in its precision."""
    return level.map(
        lambda c: c.to(like.device, like.dtype if c.is_floating_point() else c.dtype).expand(
            len(like)
        )
    )
