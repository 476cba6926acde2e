r"""Samples of which a part is known: holes filled, points completed, pictures extended."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from corekit.diffusion.path import Path
from corekit.diffusion.process import to_prediction
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.draws import Randomness, as_draws
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit.interfaces.sampler import Callback, Predict


def inpainted(predict: Predict, known: Tensor, mask: Tensor) -> Predict:
    r"""Say of the known part what it is: x_0 there is known, and eps follows from x_t.

    .. math:: \hat x_0 = m\, y + (1 - m)\, \hat x_0(x_t), \qquad
        \hat\varepsilon = (x_t - \alpha \hat x_0) / \sigma

    With it every sampler keeps the known part at the right noise level (a draw of q(x_t | y), as
    the replacement of RePaint draws it) and ends with it. The unknown part sees it only through
    the denoiser: conditional samples are approximate, and better with `RePaint`.

    Args:
        predict: (x_t, level) -> `Prediction`.
        known: y, ``(*event_shape)`` or ``(B, *event_shape)``; what it says elsewhere is not used.
        mask: m, bool, broadcastable to it: True where y is known.

    Source: Song et al., Score-Based Generative Modeling through SDEs, ICLR 2021, app. I.2,
        https://arxiv.org/abs/2011.13456.
    """
    if mask.dtype is not torch.bool:
        raise ShapeError(
            f"inpainted: mask must be bool, True where data are known, got {mask.dtype}."
        )

    def told(x_t: Tensor, level: NoiseLevel) -> Prediction:
        prediction = predict(x_t, level)
        x_0 = torch.where(mask, known.to(x_t.dtype), prediction.x_0)
        return to_prediction(x_0, "x_0", x_t, level)._replace(log_variance=prediction.log_variance)

    return told


@dataclass(frozen=True)
class RePaint:
    r"""Inpainting that goes back and forth, until the unknown part fits the known one.

    Every ``jump`` steps from t down to s, each a draw of `Ancestral`, are taken ``resamples``
    times; between them noise leads back up,

    .. math:: x_t = \frac{\alpha_t}{\alpha_s} x_s + \sigma_{ts} z, \qquad z \sim N(0, I)

    so that both parts are denoised together again. As both numbers grow, resamples and steps, the
    samples become those of the conditional; resamples bring its mean, many steps its variance. It
    calls the denoiser resamples times as often as its steps say.

    Args:
        known, mask: As of `inpainted`.
        resamples: How often each stretch is taken; 1 is plain replacement.
        jump: Steps in a stretch.
        steps: How many, spread evenly over the levels; None for all of them.

    Shape: x_T and result ``(B, *event_shape)``.
    Source: Lugmayr et al., RePaint, CVPR 2022, alg. 1, https://arxiv.org/abs/2201.09865.
    """

    known: Tensor
    mask: Tensor
    resamples: int = 10
    jump: int = 1
    steps: int | None = None
    order: ClassVar[int] = 1
    noise_share: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        for name in ("resamples", "jump", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"RePaint: {name} must be at least 1, got {value}.")

    def times(self, schedule: NoiseSchedule, steps: int | None = None) -> Tensor:
        """``steps + 1`` times, spread evenly over the levels; its own number unless given."""
        return schedule.times(steps or self.steps or schedule.default_steps)

    @torch.no_grad()
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
        """Follow ``times`` from x_T to data, every stretch ``resamples`` times.

        The callback is called for the last visit of each step.
        """
        path, draws = Path(schedule, times, x_T), as_draws(generator)
        told = inpainted(predict, self.known, self.mask)
        step = path.transitions
        kept = (path.sigma[1:].square() - step.variance).clamp(min=0).sqrt().tolist()
        signal, new = path.alpha[1:].tolist(), step.variance.sqrt().tolist()
        up = (path.alpha[:-1] / path.alpha[1:]).tolist()
        spread = step.forward_variance.sqrt().tolist()
        x = x_T
        for i, move in self._moves(len(path)):
            if move == "up":
                x = up[i] * x + spread[i] * draws.normal("noise", tuple(x.shape), x)
                continue
            prediction = told(x, path.level(i))
            x = signal[i] * prediction.x_0 + kept[i] * prediction.eps
            if new[i] > 0:
                x = x + new[i] * draws.normal("noise", tuple(x.shape), x)
            if callback is not None and move == "last":
                callback(i + 1, x, prediction)
        return x

    def _moves(self, steps: int) -> Iterator[tuple[int, str]]:
        """Each step that is taken down, for the last time or not, or back up."""
        for start in range(0, steps, self.jump):
            stretch = range(start, min(start + self.jump, steps))
            for visit in range(self.resamples):
                final = visit == self.resamples - 1
                yield from ((i, "last" if final else "down") for i in stretch)
                if not final:
                    yield from ((i, "up") for i in reversed(stretch))
