r"""Samplers of the Gaussian process: from noise to data, one denoiser call per step.

Both samplers take the same step from level t to the cleaner level s,

.. math:: x_s = \alpha_s \hat x_0 + d\, \hat\varepsilon + \nu\, z, \qquad z \sim N(0, I),

and differ in the two numbers d (how much of the predicted noise stays) and nu (how much new noise
comes in). With :math:`\tilde\beta = \sigma^2_{ts} \sigma_s^2 / \sigma_t^2`, the variance of
:math:`q(x_s \mid x_t, x_0)` (`corekit.diffusion.process`):

.. math::
    \text{ancestral:} \quad d = \sqrt{\sigma_s^2 - \tilde\beta}, \quad
        \nu = f \sigma_{ts} + (1 - f) \sqrt{\tilde\beta} \qquad
    \text{DDIM:} \quad d = \sqrt{\sigma_s^2 - \nu^2}, \quad \nu = \eta \sqrt{\tilde\beta}

Ancestral's :math:`\alpha_s \hat x_0 + d\, \hat\varepsilon` is the mean of
:math:`q(x_s \mid x_t, \hat x_0)`, so ancestral with f = 0 and DDIM with eta = 1 are the same. The
numbers are made once, in float64 on the CPU: no step waits for an accelerator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from corekit.diffusion.path import Path
from corekit.diffusion.process import Transition, reverse_of
from corekit.errors import UsageError
from corekit.interfaces.draws import Randomness, as_draws
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import Prediction
from corekit.interfaces.sampler import Callback, Predict

# (transitions (S,), variance of level s (S,)) -> (d, nu), each (S,)
StepNumbers = Callable[[Transition, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Ancestral:
    r"""One draw from :math:`q(x_s \mid x_t, \hat x_0)` per step: the sampler of DDPM.

    Between neighbours of a discrete schedule this is the step of Ho et al.; the last adds no noise:

    .. math:: x_{t-1} = (x_t - \beta_t \hat\varepsilon / \sqrt{1 - \bar\alpha_t})
        / \sqrt{1 - \beta_t} + \nu z

    Args:
        flexibility: f in [0, 1], the standard deviation between that of the posterior (0, right
            for data of no variance) and that of the forward step (1, for unit-variance data);
            unless the denoiser has learned it.
        steps: How many steps, spread evenly over the levels; None for all of them.

    Attributes:
        order: 1, weakly: the marginal mean and variance of the samples converge like 1 / steps,
            for any f. One realisation converges to nothing, as each step draws anew. For Gaussian
            data the mean is exact up to the error of the start.

    Shape: x_T and result ``(B, *event_shape)``.
    Source:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, alg. 2 and sec. 3.2,
        https://arxiv.org/abs/2006.11239; f: Luo and Hu, Diffusion Probabilistic Models for 3D
        Point Cloud Generation, CVPR 2021, https://arxiv.org/abs/2103.01458 (their code).
    """

    flexibility: float = 0.0
    steps: int | None = None
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_options("Ancestral", "flexibility", self.flexibility, self.steps)

    @property
    def noise_share(self) -> float | None:
        """1 at f = 0: a step is one draw of the posterior; no share of it otherwise."""
        return 1.0 if self.flexibility == 0 else None

    def times(self, schedule: NoiseSchedule, steps: int | None = None) -> Tensor:
        """``steps + 1`` times, spread evenly over the levels; its own number unless given."""
        return schedule.times(steps or self.steps or schedule.default_steps)

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
        """Follow ``times`` (decreasing, the last 0) from x_T to data; noise is drawn as "noise"."""

        def numbers(step: Transition, var_s: Tensor) -> tuple[Tensor, Tensor]:
            small, large = step.variance.sqrt(), step.forward_variance.sqrt()
            noise = self.flexibility * large + (1 - self.flexibility) * small
            return (var_s - step.variance).clamp(min=0).sqrt(), noise

        return _follow(predict, schedule, x_T, times, generator, callback, numbers, learned=True)


@dataclass(frozen=True)
class Ddim:
    r"""Denoising diffusion implicit models: the probability-flow ODE at eta = 0.

    .. math:: \nu = \eta \sqrt{\tilde\beta}, \qquad d = \sqrt{\sigma_s^2 - \nu^2}

    On rectified flow, eta = 0 is Euler's method. With eta = 0 no noise is drawn.

    Args:
        eta: In [0, 1]; 0 is deterministic, 1 is `Ancestral`.
        steps: How many steps, spread evenly over the levels; None for all of them.

    Attributes:
        order: 1: at eta = 0 the end point converges to that of the ODE like 1 / steps.

    Shape: x_T and result ``(B, *event_shape)``.
    Source: Song et al., Denoising Diffusion Implicit Models, ICLR 2021, eq. 12 and 16,
        https://arxiv.org/abs/2010.02502.
    """

    eta: float = 0.0
    steps: int | None = None
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_options("Ddim", "eta", self.eta, self.steps)

    @property
    def noise_share(self) -> float:
        """Eta: each step draws that share of the standard deviation of the posterior."""
        return self.eta

    def times(self, schedule: NoiseSchedule, steps: int | None = None) -> Tensor:
        """``steps + 1`` times, spread evenly over the levels; its own number unless given."""
        return schedule.times(steps or self.steps or schedule.default_steps)

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
        """Follow ``times`` (decreasing, the last 0) from x_T to data; noise is drawn as "noise"."""

        def numbers(step: Transition, var_s: Tensor) -> tuple[Tensor, Tensor]:
            kept = (var_s - self.eta**2 * step.variance).clamp(min=0)
            return kept.sqrt(), self.eta * step.variance.sqrt()

        return _follow(predict, schedule, x_T, times, generator, callback, numbers)


@torch.no_grad()
def _follow(
    predict: Predict,
    schedule: NoiseSchedule,
    x_T: Tensor,
    times: Tensor,
    generator: Randomness,
    callback: Callback | None,
    numbers: StepNumbers,
    *,
    learned: bool = False,
) -> Tensor:
    """The loop of both samplers."""
    path = Path(schedule, times, x_T)
    d, nu = numbers(path.transitions, path.sigma[1:].square())
    signal, kept, new = path.alpha[1:].tolist(), d.tolist(), nu.tolist()
    wide = [*new[:-1], (0.5 * reverse_of(path.transitions).log_small[-1]).exp().item()]
    new[-1] = 0.0  # the last step returns the mean
    draws = as_draws(generator)
    x = x_T
    for i in range(len(path)):
        prediction = predict(x, path.level(i))
        shift = prediction.shift if learned else None
        x_0, eps = prediction[:2] if shift is None else shift[:2]
        x = signal[i] * x_0 + kept[i] * eps
        if shift is not None:
            x = x + _spread(wide[i], prediction, learned) ** 2 * shift.gradient
        if new[i] > 0:
            x = x + _spread(new[i], prediction, learned) * draws.normal("noise", tuple(x.shape), x)
        if callback is not None:
            callback(i + 1, x, prediction)
    return x


def _spread(nu: float, prediction: Prediction, learned: bool) -> float | Tensor:
    """Standard deviation of a step: as the network says, if it does and is asked."""
    if not learned or prediction.log_variance is None:
        return nu
    return (0.5 * prediction.log_variance).exp().to(prediction.x_0.dtype)


def _check_options(who: str, name: str, share: float, steps: int | None) -> None:
    if not 0 <= share <= 1:
        raise UsageError(f"{who}: {name} must lie in [0, 1], got {share}.")
    if steps is not None and steps < 1:
        raise UsageError(f"{who}: steps must be at least 1 or None, got {steps}.")
