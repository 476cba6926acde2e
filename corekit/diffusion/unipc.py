r"""UniPC: a predictor, and a corrector that costs no call of the denoiser."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from corekit.diffusion.grids import OnGrid
from corekit.diffusion.path import Path
from corekit.errors import UsageError
from corekit.interfaces.draws import Randomness
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.sampler import Callback, Predict


@dataclass(frozen=True)
class UniPc(OnGrid):
    r"""UniPC-2 on the predicted data: one denoiser call per step.

    With the step h in :math:`\lambda = \log(\alpha / \sigma)`, that before h', and D, D', D'' the
    predictions at the levels t, t' before it and s after it, a step from t to s predicts

    .. math::
        x_s = \frac{\sigma_s}{\sigma_t} x_t + \alpha_s (1 - e^{-h}) D
            + \tfrac12 \alpha_s B(h)\, \frac{h}{h'} (D - D')

    and, once D'' is known (the next step needs it anyway), replaces the last term by

    .. math::
        \alpha_s B(h) \big(\rho_1 \tfrac{h}{h'} (D - D') + \rho_2 (D'' - D)\big)

    where rho makes it exact for a D that is quadratic in lambda. The first step has no D', and
    rho_2 = 1/2; that to data, where h is infinite, is of order 1.

    Args:
        steps, grid, rho, sigma_min, sigma_max: As of `OnGrid`.
        b: B(h): ``bh1`` is h, ``bh2`` is 1 - exp(-h). In the first step always the second, as h may
            be infinite there.

    Shape: x_T and result ``(B, *event_shape)``.
    Source: Zhao et al., UniPC, NeurIPS 2023, alg. 5-6 (multistep, data prediction) and app. E,
        https://arxiv.org/abs/2302.04867.
    """

    b: Literal["bh1", "bh2"] = "bh2"
    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.b not in ("bh1", "bh2"):
            raise UsageError(f"UniPc: b must be one of bh1, bh2, got {self.b!r}.")

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
        return _unipc(predict, path, x_T, _weights(path, self.b), callback)


class _Weights(NamedTuple):
    """Of the differences of predictions, one list per term, ``(S,)``."""

    predicted: list[float]  # of D - D'
    corrected: list[float]  # of D - D'
    ahead: list[float]  # of D'' - D


@torch.no_grad()
def _unipc(
    predict: Predict, path: Path, x: Tensor, weights: _Weights, callback: Callback | None
) -> Tensor:
    keep, pull = path.keep.tolist(), path.pull.tolist()
    base, change, last = x, None, None  # base: what step i - 1 adds its differences to
    for i in range(len(path)):
        prediction = predict(x, path.level(i))
        if last is not None:  # step i - 1 once more, now that its end is predicted
            ahead = prediction.x_0 - last
            x = base + weights.ahead[i - 1] * ahead
            if change is not None:
                x = x + weights.corrected[i - 1] * change
            change = ahead
        last = prediction.x_0
        base = keep[i] * x + pull[i] * last
        x = base if change is None else base + weights.predicted[i] * change
        if callback is not None:
            callback(i + 1, x, prediction)
    return x


def _weights(path: Path, b: str) -> _Weights:
    r"""The solution of the two equations for rho, in closed form.

    With :math:`r = -h' / h`, :math:`\rho_1 + \rho_2 = b_1` and :math:`r \rho_1 + \rho_2 = b_2`;
    the paper's b are moments of the exponential, divided by B.
    """
    h, alpha = path.h, path.alpha[1:]
    whole = -torch.expm1(-h)  # of the exponential integral: 1 - exp(-h)
    scale = whole if b == "bh2" else torch.cat((whole[:1], h[1:]))
    first = (1 - whole / h) / scale
    second = 2 * (0.5 - (1 - whole / h) / h) / scale
    ratio = torch.cat((h.new_zeros(1), h[1:] / h[:-1]))  # h / h', 0 after an infinite step
    rho_1 = torch.where(ratio > 0, (first - second) * ratio / (ratio + 1), 0.0)
    rho_2 = first - rho_1
    rho_2[0] = 0.5
    size = alpha * scale
    # rho_1 stands by (D' - D) / r = (D - D') h / h'
    terms = (0.5 * size * ratio, size * rho_1 * ratio, size * rho_2)
    finite = (torch.where(h.isfinite() | (torch.arange(len(h)) == 0), term, 0.0) for term in terms)
    return _Weights(*(term.tolist() for term in finite))
