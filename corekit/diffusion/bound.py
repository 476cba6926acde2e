r"""The variational bound of a diffusion model, term by term.

.. math::
    -\log p(x_0) \le \mathrm{KL}(q(x_T \mid x_0) \,\|\, p(x_T))
        + \sum_{t \ge 1} \mathrm{KL}\big(q(x_{t-1} \mid x_t, x_0) \,\|\, p(x_{t-1} \mid x_t)\big)
        - \log p(x_0 \mid x_1)

The last is the probability of the level of each number, if the data have levels, else a density.
All terms are averages over the numbers of an event, in bits: their sum is bits per dimension.

Source: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, eq. 5, 13,
    https://arxiv.org/abs/2006.11239; Nichol and Dhariwal, Improved DDPM, ICML 2021, eq. 4-8,
    https://arxiv.org/abs/2102.09672.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.special import log_ndtr

from corekit.data_spec import DataSpec
from corekit.diffusion.process import (
    ends_at_data,
    fixed_log_variance,
    mean_of_step,
    q_sample,
)
from corekit.errors import UsageError
from corekit.interfaces.draws import Randomness, as_draws
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit.interfaces.sampler import Predict

FixedVariance = Literal["small", "large"]
"""Which variance a step back has that is not learned (`fixed_log_variance`)."""


class Levels(NamedTuple):
    """The levels of data: level k of ``number`` is ``lowest + k * width``."""

    number: int
    width: float
    lowest: float


def levels_of(data: DataSpec | None) -> Levels | None:
    """Those of the data, if they have any."""
    if data is None or data.levels is None or data.bin_width is None or data.lowest is None:
        return None
    return Levels(data.levels, data.bin_width, data.lowest)


def normal_kl(mean_1: Tensor, log_var_1: Tensor, mean_2: Tensor, log_var_2: Tensor) -> Tensor:
    """KL(N(mean_1, var_1) || N(mean_2, var_2)) of each number, nats; the four broadcast."""
    distance = (mean_1 - mean_2).square() * (-log_var_2).exp()
    return 0.5 * (log_var_2 - log_var_1 - 1 + (log_var_1 - log_var_2).exp() + distance)


def log_probability_of_level(x: Tensor, mean: Tensor, log_std: Tensor, levels: Levels) -> Tensor:
    r"""log of the mass that a Gaussian puts on the bin of the level x, nats, of each number.

    .. math:: \log\big(\Phi((x + h - \mu) / s) - \Phi((x - h - \mu) / s)\big)

    h is half the width of a bin; the first and the last bin reach to infinity. The normal
    distribution function is exact here, and far tails keep their digits.

    Source: Ho et al. 2020, eq. 13.
    """
    half, last = levels.width / 2, levels.lowest + levels.width * (levels.number - 1)
    precision = (-log_std).exp()
    upper, lower = (x - mean + half) * precision, (x - mean - half) * precision
    # Of two points on the right, the mirror images on the left: there differences keep digits.
    flip = lower + upper > 0
    a, b = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    log_a, log_b = log_ndtr(a), log_ndtr(b)
    gap = (log_a - log_b).clamp(max=-torch.finfo(x.dtype).tiny)
    inside = log_b + torch.log(-torch.expm1(gap))
    first, final = x < levels.lowest + half, x > last - half
    return torch.where(first, log_ndtr(upper), torch.where(final, log_ndtr(-lower), inside))


def step_bound(
    prediction: Prediction,
    x_0: Tensor,
    x_t: Tensor,
    level: NoiseLevel,
    levels: Levels | None,
    variance: str = "small",
    *,
    approximate: bool = False,
) -> Tensor:
    """The term of one step, ``(B,)``, bits per dimension; float32 at least.

    Args:
        prediction: With a log-variance, if it is learned.
        x_0: Data.
        x_t: What the prediction is of.
        level: Of x_t, with the step back from it.
        levels: Of the data; None for real numbers.
        variance: small or large, where it is not learned.
        approximate: Whether probabilities of levels are those of the reference.
    """
    back = level.reverse
    if back is None:
        raise UsageError(
            "corekit.diffusion: the variational bound needs a schedule of steps, got a continuous "
            "one. Use ddpm.linear or ddpm.cosine."
        )
    wide = torch.promote_types(x_0.dtype, torch.float32)
    x_0, x_t, told = x_0.to(wide), x_t.to(wide), prediction.x_0.to(wide)
    log_var = prediction.log_variance
    log_var = fixed_log_variance(back, variance, x_0) if log_var is None else log_var.to(wide)
    mean = mean_of_step(told, x_t, back)
    kl = normal_kl(
        mean_of_step(x_0, x_t, back), fixed_log_variance(back, "small", x_0), mean, log_var
    )
    if levels is None:
        error = (x_0 - mean).square() * (-log_var).exp()
        surprise = 0.5 * (error + log_var + math.log(2 * math.pi))
    else:
        mass = log_probability_by_tanh if approximate else log_probability_of_level
        surprise = -mass(x_0, mean, 0.5 * log_var, levels)
    last = ends_at_data(back).reshape(-1, *(1,) * (x_0.ndim - 1))
    return torch.where(last, surprise, kl).flatten(1).mean(1) / math.log(2)


def prior_bound(x_0: Tensor, schedule: NoiseSchedule) -> Tensor:
    """KL(q(x_T | x_0) || N(0, 1)), ``(B,)``, bits per dimension."""
    end = schedule.at(torch.ones(1, dtype=torch.float64, device="cpu"))
    alpha, log_var = end.alpha.item(), 2 * end.sigma.log().item()
    wide = x_0.to(torch.promote_types(x_0.dtype, torch.float32))
    zero = torch.zeros((), dtype=wide.dtype, device=wide.device)
    kl = normal_kl(alpha * wide, zero + log_var, zero, zero)
    return kl.flatten(1).mean(1) / math.log(2)


def log_probability_by_tanh(x: Tensor, mean: Tensor, log_std: Tensor, levels: Levels) -> Tensor:
    r"""The same with an approximate distribution function, and masses of at least 1e-12.

    .. math:: \Phi(u) \approx \tfrac12 \big(1 + \tanh(\sqrt{2 / \pi}\, (u + 0.044715 u^3))\big)

    It is up to 2e-4 off, and more in the logarithm of tails: for comparisons with the reference.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, https://arxiv.org/abs/1606.08415;
        used so by improved-diffusion, losses.py.
    """
    half, last = levels.width / 2, levels.lowest + levels.width * (levels.number - 1)
    precision = (-log_std).exp()

    def cdf(u: Tensor) -> Tensor:
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))

    upper, lower = cdf((x - mean + half) * precision), cdf((x - mean - half) * precision)
    first, final = x < levels.lowest + half, x > last - half
    mass = torch.where(first, upper, torch.where(final, 1 - lower, upper - lower))
    return mass.clamp(min=1e-12).log()


class Bound(NamedTuple):
    """The bound and its terms, bits per dimension; errors are squared, per coordinate.

    Shape: total, prior ``(B,)``; steps, x_0_error, eps_error ``(B, T)``, that of t = 0 first.
    """

    total: Tensor
    prior: Tensor
    steps: Tensor
    x_0_error: Tensor
    eps_error: Tensor

    def shifted(self, bits: Tensor) -> "Bound":
        """The bound of data that an affine map made these of: so much more, ``(B,)``."""
        steps = torch.cat((self.steps[:, :1] + bits[:, None], self.steps[:, 1:]), dim=1)
        return self._replace(total=self.total + bits, steps=steps)


@torch.no_grad()
def variational_bound(
    predict: Predict,
    schedule: DiscreteSchedule,
    x_0: Tensor,
    data: DataSpec | None = None,
    *,
    variance: str = "small",
    approximate: bool = False,
    generator: Randomness = None,
) -> Bound:
    """A draw of the whole bound: one call of the denoiser for each step.

    The noise of each step is drawn as "eps", from the last step to the first; the bound holds on
    average over it.

    Args:
        predict: (x_t, level) -> `Prediction`.
        schedule: Its steps, which may be respaced.
        x_0: Data ``(B, *event_shape)``.
        data: What they are; the levels of None are not known, and x_0 is a density's.
        variance: small or large, where it is not learned.
        approximate: Whether probabilities of levels are those of the reference.
        generator: Where the noise comes from.
    """
    draws, rows = as_draws(generator), len(x_0)
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    for t in reversed(range(schedule.steps)):
        index = torch.full((rows,), t, device=x_0.device)
        level = schedule.level(index).map(
            lambda v: v.to(x_0.dtype) if v.is_floating_point() and x_0.dtype is torch.float64 else v
        )
        eps = draws.normal("eps", tuple(x_0.shape), x_0)
        x_t = q_sample(x_0, eps, level)
        found = predict(x_t, level)
        columns.append(
            (
                step_bound(
                    found, x_0, x_t, level, levels_of(data), variance, approximate=approximate
                ),
                (found.x_0 - x_0).square().flatten(1).mean(1),
                (found.eps - eps).square().flatten(1).mean(1),
            )
        )
    steps, x_0_error, eps_error = (torch.stack(c[::-1], 1) for c in zip(*columns, strict=True))
    prior = prior_bound(x_0, schedule)
    return Bound(prior + steps.sum(1), prior, steps, x_0_error, eps_error)
