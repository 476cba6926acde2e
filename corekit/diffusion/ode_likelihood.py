r"""The log-likelihood that the probability-flow ODE of a diffusion model gives its data.

Of real numbers it is exact up to the solver, or unbiased where the divergence is estimated. Of data
with levels it is that of a point drawn uniformly in the bin of the level, whose exponential is
unbiased for the probability of the level divided by the bin's volume: a weight, so that its mean is
a bound.

Source: Song et al., Score-Based Generative Modeling through SDEs, ICLR 2021, section 4.3,
    https://arxiv.org/abs/2011.13456; dequantisation: Theis et al., A Note on the Evaluation of
    Generative Models, ICLR 2016, eq. 4, https://arxiv.org/abs/1511.01844.
"""

import math

import torch
from torch import Tensor

from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.predicting import predict_with
from corekit.diffusion.probability_flow import solve
from corekit.interfaces.drawing import drawing
from corekit.interfaces.draws import Randomness, as_draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import Condition
from corekit.nn.ode import Trace


@torch.no_grad()
def ode_log_prob(
    density: DiffusionDensity,
    x: Tensor,
    condition: Condition | None = None,
    *,
    solver: str = "rk4",
    steps: int = 50,
    trace: Trace = "hutchinson",
    generator: Randomness = None,
) -> LogProb:
    """log p(x | condition), nats, ``(B,)``.

    Draws "dequantize" where data have levels, and "probe" where the divergence is estimated.

    Args:
        density: A diffusion of any schedule.
        x: Data ``(B, *event_shape)``.
        condition: What it is conditioned on.
        solver: rk4, dopri5, midpoint or euler.
        steps: Of its grid; compare two numbers of them.
        trace: exact, in D products with the Jacobian per call, or hutchinson, in one.
        generator: Where noise comes from.
    """
    draws, data = as_draws(generator), density.data
    kind = Likelihood.EXACT if trace == "exact" else Likelihood.UNBIASED
    if data is not None and data.levels is not None and data.bin_width is not None:
        x = x + data.bin_width * (draws.uniform("dequantize", tuple(x.shape), x) - 0.5)
        kind = kind | Likelihood.WEIGHT
    predict = predict_with(density.denoiser.prepared(condition), condition)
    with drawing(draws):
        y, logdet = solve(
            predict,
            density.schedule,
            density.standardized(x),
            solver=solver,
            steps=steps,
            trace=trace,
        )
    z = y.flatten(1).to(logdet.dtype)
    value = logdet - 0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))
    return density.log_prob_of_data(LogProb(value, kind), x)
