r"""Euler's and Heun's method for the probability flow in sigma / alpha."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from corekit.diffusion.grids import NOISE, GridName, OnGrid
from corekit.diffusion.path import Path
from corekit.interfaces.draws import Randomness
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.sampler import Callback, Predict


@dataclass(frozen=True)
class Euler(OnGrid):
    r"""Euler's method; the step of DDIM, on the grid of Karras et al. One denoiser call per step.

    With :math:`\bar x = x / \alpha` and :math:`r = \sigma / \alpha` the flow has the slope
    :math:`d\bar x / dr = \varepsilon`, whether or not the schedule preserves variance:

    .. math:: \bar x_s = \bar x_t + (r_s - r_t)\, \hat\varepsilon(x_t)

    It is computed without the division, so that it may start from pure noise (alpha_t = 0).

    Args:
        steps, grid, rho, sigma_min, sigma_max: As of `OnGrid`.

    Shape: x_T and result ``(B, *event_shape)``.
    Source: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models,
        NeurIPS 2022, table 1, https://arxiv.org/abs/2206.00364.
    """

    grid: GridName = "karras"
    order: ClassVar[int] = 1

    def __call__(
        self,
        predict: Predict,
        schedule: NoiseSchedule,
        x_T: Tensor,
        *,
        times: Tensor,
        generator: Randomness = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Follow ``times`` (decreasing, the last 0) from x_T to data; nothing is drawn."""
        return _slopes(predict, Path(schedule, times, x_T), x_T, callback, twice=False)


@dataclass(frozen=True)
class Heun(OnGrid):
    r"""Heun's method: Euler's step, then again with the mean of the slopes at both its ends.

    .. math::
        \hat x_s = \bar x_t + (r_s - r_t)\, \hat\varepsilon(x_t), \qquad
        \bar x_s = \bar x_t + \tfrac12 (r_s - r_t)
            \big(\hat\varepsilon(x_t) + \hat\varepsilon(\alpha_s \hat x_s)\big)

    Two denoiser calls per step, one in the step to data: 2N - 1 in all. Where a step more than
    halves r, this would multiply what the second call says of the data, without bound from pure
    noise. There the second call replaces the first, or, above r = 10, where the data predicted are
    linear in 1 / r, is averaged with it; the method stays of second order.

    Args:
        steps, grid, rho, sigma_min, sigma_max: As of `OnGrid`.

    Shape: x_T and result ``(B, *event_shape)``.
    Source: Karras et al. 2022, alg. 1 (without churn), https://arxiv.org/abs/2206.00364.
    """

    grid: GridName = "karras"
    order: ClassVar[int] = 2

    def __call__(
        self,
        predict: Predict,
        schedule: NoiseSchedule,
        x_T: Tensor,
        *,
        times: Tensor,
        generator: Randomness = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Follow ``times`` (decreasing, the last 0) from x_T to data; nothing is drawn."""
        return _slopes(predict, Path(schedule, times, x_T), x_T, callback, twice=True)


@torch.no_grad()
def _slopes(
    predict: Predict, path: Path, x: Tensor, callback: Callback | None, *, twice: bool
) -> Tensor:
    """Both methods: Heun's is Euler's step and a share of the change of x_0 along it."""
    keep, pull, more = path.keep.tolist(), path.pull.tolist(), _second(path)
    for i in range(len(path)):
        prediction = predict(x, path.level(i))
        x = keep[i] * x + pull[i] * prediction.x_0
        if twice and i + 1 < len(path):
            x = x + more[i] * (predict(x, path.level(i + 1)).x_0 - prediction.x_0)
        if callback is not None:
            callback(i + 1, x, prediction)
    return x


def _second(path: Path) -> list[float]:
    r"""The weight of the change of x_0.

    As :math:`\varepsilon = (\bar x - x_0) / r`, the mean of two slopes puts
    :math:`x_0 + r_t / (2 r_s) (x_0' - x_0)` in the place of x_0.
    """
    ratio = path.sigma / path.alpha
    share = ratio[:-1] / (2 * ratio[1:])
    bounded = torch.where(ratio[:-1] > NOISE, 0.5, 1.0)
    return (path.pull * torch.where(share <= 1, share, bounded)).tolist()
