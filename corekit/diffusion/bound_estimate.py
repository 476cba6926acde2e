r"""An estimate of the variational bound from a few of its terms.

The T terms of the bound fall roughly like 1 / t, so steps are put into strata whose lengths grow
geometrically, all of about the same share: {0}, {1}, {2, 3}, ... With one step drawn from each,

.. math:: \hat L = L_{prior} + \sum_k |S_k|\, L_{t_k}, \qquad t_k \sim U(S_k), \qquad
    E[\hat L] = L_{prior} + \sum_t L_t

It is unbiased for the bound, so of the kind ``bound`` for the log-likelihood, and with as many
strata as steps it is the bound itself (for one draw of the noise).

Source: the bound is that of `corekit.diffusion.bound`; strata: Owen, Monte Carlo theory, methods
    and examples, section 8.4, https://artowen.su.domains/mc/.
"""

import math

import torch
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import levels_of, prior_bound, step_bound
from corekit.diffusion.continuous_bound import FAR, bound_of_one_level, continuous_bound
from corekit.diffusion.process import q_sample
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.sampler import Predict


def strata(steps: int, number: int) -> list[range]:
    """The steps 0 ... steps - 1 in so many ranges, ever longer; the first is {0}.

    >>> strata(8, 4)
    [range(0, 1), range(1, 2), range(2, 4), range(4, 8)]
    """
    number = min(number, steps)
    edges = [0]
    for k in range(1, number):
        grown = round(steps ** ((k - 1) / (number - 1)))
        edges.append(min(max(grown, edges[-1] + 1), steps - number + k))
    return [range(a, b) for a, b in zip(edges, [*edges[1:], steps], strict=True)]


@torch.no_grad()
def estimated_bound(
    predict: Predict,
    schedule: DiscreteSchedule,
    x_0: Tensor,
    data: DataSpec | None = None,
    *,
    calls: int = 10,
    variance: str = "small",
    generator: Randomness = None,
) -> Tensor:
    """An unbiased estimate of the bound of each row, ``(B,)``, bits per dimension.

    Steps are drawn as "step", noise as "eps", stratum by stratum from the last to the first.

    Args:
        predict: (x_t, level) -> `Prediction`.
        schedule: Its steps.
        x_0: Data ``(B, *event_shape)``.
        data: What they are; the levels of None are not known, and x_0 is a density's.
        calls: Of the denoiser, per row.
        variance: small or large, where it is not learned.
        generator: Where steps and noise come from.

    Raises:
        UsageError: If calls is less than 1.
    """
    if calls < 1:
        raise UsageError(f"estimated_bound: calls must be at least 1, got {calls}.")
    draws, total = as_draws(generator), prior_bound(x_0, schedule)
    wide = torch.promote_types(x_0.dtype, torch.float32)
    for stratum in reversed(strata(schedule.steps, calls)):
        index = torch.full((len(x_0),), stratum.start, device=x_0.device)
        if len(stratum) > 1:
            index = index + draws.integers("step", len(stratum), (len(x_0),), x_0.device)
        level = schedule.level(index).map(lambda v: v.to(wide) if v.is_floating_point() else v)
        eps = draws.normal("eps", tuple(x_0.shape), x_0)
        x_t = q_sample(x_0, eps, level)
        term = step_bound(predict(x_t, level), x_0, x_t, level, levels_of(data), variance)
        total = total + len(stratum) * term
    return total


def bound_of_one_step(
    predict: Predict,
    schedule: NoiseSchedule,
    x_0: Tensor,
    *,
    variance: str = "small",
    draws: Draws,
    strata_of: int = 10,
) -> Tensor:
    """An unbiased estimate of the bound of continuous x_0 from one call, ``(B,)``, nats.

    Unlike `estimated_bound` it has gradients, to the denoiser and to x_0: what an encoder and the
    prior of its latents are trained together by. On a schedule of steps a stratum is drawn as
    "stratum" and a step in it as "step", on a continuous one a level as "t"; then "eps".
    """
    wide = torch.promote_types(x_0.dtype, torch.float32)
    size, rows, x_0 = math.prod(x_0.shape[1:]), len(x_0), x_0.to(wide)
    if not isinstance(schedule, DiscreteSchedule):
        return size * math.log(2) * bound_of_one_level(predict, schedule, x_0, draws)
    parts = strata(schedule.steps, strata_of)
    starts, lengths = (
        torch.tensor(values, device=x_0.device)
        for values in ([part.start for part in parts], [len(part) for part in parts])
    )
    which = draws.integers("stratum", len(parts), (rows,), x_0.device)
    inside = draws.uniform("step", (rows,), x_0) * lengths[which]
    step = starts[which] + inside.long().clamp(max=lengths[which] - 1)  # rounding may reach the end
    level = schedule.level(step).map(lambda v: v.to(wide) if v.is_floating_point() else v)
    x_t = q_sample(x_0, draws.normal("eps", tuple(x_0.shape), x_0), level)
    term = step_bound(predict(x_t, level), x_0, x_t, level, None, variance)
    total = prior_bound(x_0, schedule) + len(parts) * lengths[which] * term
    return size * math.log(2) * total


def has_bound(schedule: NoiseSchedule, data: DataSpec | None) -> bool:
    """Whether a bound is known: of data whose levels are known if they have any.

    There must be steps to add up, or a little noise at time 0, as in a `VdmSchedule`: with none,
    nothing says what the data are within it.
    """
    if data is None or (data.mean is not None and data.levels is not None):
        return False
    return bounds_densities(schedule)


def bounds_densities(schedule: NoiseSchedule) -> bool:
    """Whether it has steps to add up, or a little noise at time 0."""
    if isinstance(schedule, DiscreteSchedule):
        return True
    start = schedule.at(torch.zeros(1, dtype=torch.float64, device="cpu"))
    return bool(2 * (start.alpha.log() - start.sigma.log()) < FAR)


def log_prob_by_bound(
    predict: Predict,
    schedule: NoiseSchedule,
    x: Tensor,
    data: DataSpec | None,
    variance: str,
    calls: int,
    generator: Randomness,
) -> LogProb:
    """An estimate of the bound in nats, as a density; of data with levels, the same on each bin."""
    if isinstance(schedule, DiscreteSchedule):
        bits = estimated_bound(
            predict, schedule, x, data, calls=calls, variance=variance, generator=generator
        )
    else:
        bits = continuous_bound(
            predict, schedule, x, data, draws_per_example=calls, generator=generator
        ).total
    size, levels = math.prod(x.shape[1:]), levels_of(data)
    width = 0.0 if levels is None else math.log(levels.width)
    return LogProb(-size * (bits * math.log(2) + width), Likelihood.BOUND)
