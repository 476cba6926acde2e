r"""DPM-Solver++: the probability flow, with the predicted data as a polynomial in log-SNR."""

from dataclasses import dataclass

import torch
from torch import Tensor

from corekit.diffusion.grids import OnGrid
from corekit.diffusion.path import Path
from corekit.errors import UsageError
from corekit.interfaces.draws import Randomness
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.sampler import Callback, Predict


@dataclass(frozen=True)
class DpmSolver(OnGrid):
    r"""DPM-Solver++ of order 1, 2M (multistep) or 2S (singlestep): one denoiser call per step.

    In :math:`\lambda = \log(\alpha / \sigma)`, with :math:`h = \lambda_s - \lambda_t`, the flow is

    .. math::
        x_s = \frac{\sigma_s}{\sigma_t} x_t
            + \alpha_s (1 - e^{-h})\, D, \qquad
        D = \hat x_0(x_t) + \frac{h}{2 h'} \Big(\hat x_0(x_t) - \hat x_0(x_{t'})\Big)

    2M takes the level t' before t, h' lower in lambda. 2S goes from t in two steps: by order 1 to a
    level t' on the way, and then from t to s with :math:`\hat x_0(x_{t'})`; both are steps of the
    grid. The step to data, where h is infinite, is of order 1, as is the first of 2M.

    Args:
        steps, grid, rho, sigma_min, sigma_max: As of `OnGrid`.
        order: 1 (which is DDIM) or 2.
        multistep: 2M, not 2S.

    Shape: x_T and result ``(B, *event_shape)``.
    Source: Lu et al., DPM-Solver++, 2022, alg. 1-2, https://arxiv.org/abs/2211.01095.
    """

    order: int = 2
    multistep: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2):
            raise UsageError(f"DpmSolver: order must be 1 or 2, got {self.order}.")

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
        path = Path(schedule, times, x_T)
        if self.order == 2 and not self.multistep:
            return _singlestep(predict, path, x_T, callback)
        return _multistep(predict, path, x_T, callback, self.order)


@torch.no_grad()
def _multistep(
    predict: Predict, path: Path, x: Tensor, callback: Callback | None, order: int
) -> Tensor:
    """One call per step, which looks back at the one before."""
    keep, pull = path.keep.tolist(), path.pull.tolist()
    back = (path.pull[1:] * _share(path.h[1:], path.h[:-1])).tolist()
    before: Tensor | None = None
    for i in range(len(path)):
        prediction = predict(x, path.level(i))
        x = keep[i] * x + pull[i] * prediction.x_0
        if order == 2 and before is not None and back[i - 1] != 0:
            x = x + back[i - 1] * (prediction.x_0 - before)
        before = prediction.x_0
        if callback is not None:
            callback(i + 1, x, prediction)
    return x


@torch.no_grad()
def _singlestep(predict: Predict, path: Path, x: Tensor, callback: Callback | None) -> Tensor:
    """Pairs of steps before the step to data; one that is left over is taken first, from noise."""
    keep, pull, pair = path.keep.tolist(), path.pull.tolist(), _pairs(path)
    left_over = len(path) % 2 == 0
    start = x
    first: Tensor | None = None  # what was predicted at the start of the pair
    for i in range(len(path)):
        prediction = predict(x, path.level(i))
        if first is None:
            start, first = x, prediction.x_0
            x = keep[i] * x + pull[i] * first
        else:
            stay, to_first, to_second = pair[i - 1]
            x = stay * start + to_first * first + to_second * prediction.x_0
            first = None
        if left_over and i == 0:
            first = None
        if callback is not None:
            callback(i + 1, x, prediction)
    return x


def _pairs(path: Path) -> list[list[float]]:
    """Of two steps taken as one, from each level: weights of x and of both predictions."""
    keep = path.sigma[2:] / path.sigma[:-2]
    pull = path.alpha[2:] - path.alpha[:-2] * keep
    second = 0.5 + _share(path.h[1:], path.h[:-1])
    return torch.stack((keep, pull * (1 - second), pull * second), 1).tolist()


def _share(h: Tensor, before: Tensor) -> Tensor:
    """h / (2 h'), 0 where either is infinite."""
    return torch.where(h.isfinite(), h / (2 * before), 0.0)
