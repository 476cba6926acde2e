r"""The variational bound of a diffusion model in continuous time.

With infinitely many steps the bound depends on the noise through the log-SNR :math:`\lambda`
alone, and on the schedule through its two ends :math:`\lambda_0 > \lambda_1`:

.. math::
    -\log p(x_0) \le \mathrm{KL}\big(q(z_1 \mid x_0) \,\|\, N(0, I)\big)
        + \tfrac12 \int_{\lambda_1}^{\lambda_0} E_\varepsilon
            |\hat\varepsilon_\lambda - \varepsilon|^2 \, d\lambda
        - E\big[\log p(x_0 \mid z_0)\big]

Here :math:`z = x_t / \sqrt{\alpha^2 + \sigma^2}`, whatever the schedule is, and
:math:`p(x_0 \mid z_0)` is a Gaussian around :math:`x_t / \alpha` with the deviation
:math:`s = \sigma / \alpha = e^{-\lambda_0 / 2}`: its mass on the bin of each number, if the data
have levels, else its density. All terms are averages over the numbers of an event, in bits: their
sum is bits per dimension.

Source: Kingma et al., Variational Diffusion Models, NeurIPS 2021, eq. 11, 12 and 18,
    https://arxiv.org/abs/2107.00630.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import Levels, levels_of, log_probability_of_level, normal_kl
from corekit.diffusion.process import q_sample
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.sampler import Predict

FAR = 20.0
"""A log-SNR beyond this, in absolute value, is as good as infinite."""
END = 13.3
"""The log-SNR at which a bound starts (or, with a minus, ends) where that of the schedule is."""


class ContinuousBound(NamedTuple):
    """An estimate of the bound and its terms, bits per dimension.

    Shape: every field ``(B,)``. The standard error is that of the total of each example over its
    draws, and at least that on average, as they are spread evenly.
    """

    total: Tensor
    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor
    standard_error: Tensor

    @property
    def mean(self) -> tuple[float, float]:
        """The mean over the examples, and its standard error as that of the whole data set."""
        rows = len(self.total)
        spread = self.total.std().item() if rows > 1 else math.nan
        return self.total.mean().item(), spread / math.sqrt(rows)


@torch.no_grad()
def continuous_bound(
    predict: Predict,
    schedule: NoiseSchedule,
    x_0: Tensor,
    data: DataSpec | None = None,
    *,
    generator: Randomness = None,
    draws_per_example: int = 16,
    ends: tuple[float, float] | None = None,
) -> ContinuousBound:
    """An unbiased estimate of the bound of each example, and its standard error.

    The range of log-SNR is cut into as many equal parts as there are draws, and each draw takes a
    "t" and an "eps" in one of them: one call of the denoiser each. The estimate is unbiased for any
    number of draws.

    Args:
        predict: (x_t, level) -> `Prediction`.
        schedule: Continuous; only its levels matter, not how fast time passes them.
        x_0: Data ``(B, *event_shape)``.
        data: What they are; the levels of None are not known, and x_0 is a density's.
        generator: Where the noise comes from.
        draws_per_example: At least 2.
        ends: Log-SNR of the clean end and of the noisy one; those of the schedule unless given.

    Raises:
        UsageError: If the schedule has steps, or there are too few draws.
    """
    if isinstance(schedule, DiscreteSchedule):
        raise UsageError(
            "continuous_bound: the schedule must be continuous, got "
            f"{type(schedule).__name__} of {schedule.steps} steps. Use variational_bound."
        )
    if draws_per_example < 2:
        raise UsageError(
            f"continuous_bound: draws_per_example must be at least 2, got {draws_per_example}."
        )
    draws, rows = as_draws(generator), len(x_0)
    clean, noisy = ends_of(schedule) if ends is None else ends
    if not clean > noisy:
        raise UsageError(
            f"continuous_bound: ends must fall from clean data to noise, got {clean} and {noisy}."
        )
    wide = x_0.to(torch.promote_types(x_0.dtype, torch.float32))
    like = torch.empty(0, dtype=torch.float64)  # drawn on the CPU: float64 exists there
    errors, surprises = [], []
    for k in range(draws_per_example):
        share = (k + draws.uniform("t", (rows,), like)) / draws_per_example
        level = schedule.at(schedule.time_of(clean - share * (clean - noisy)))
        level = level.map(lambda v: v.to(wide.device, wide.dtype))
        eps = draws.normal("eps", tuple(x_0.shape), x_0)
        found = predict(q_sample(x_0, eps, level), level)
        errors.append((found.eps.to(wide.dtype) - eps).square().flatten(1).mean(1))
        surprises.append(reconstruction_term(wide, eps, clean, levels_of(data)))
    diffusion = torch.stack(errors) * ((clean - noisy) / (2 * math.log(2)))
    reconstruction, prior = torch.stack(surprises), prior_term(wide, noisy)
    error = (diffusion + reconstruction).std(0) / math.sqrt(draws_per_example)
    parts = prior, diffusion.mean(0), reconstruction.mean(0)
    return ContinuousBound(parts[0] + parts[1] + parts[2], *parts, error)


def bound_of_one_level(
    predict: Predict, schedule: NoiseSchedule, x_0: Tensor, draws: Draws
) -> Tensor:
    """The same of a density from one "t" and one "eps", with gradients, ``(B,)``."""
    clean, noisy = ends_of(schedule)
    share = draws.uniform("t", (len(x_0),), torch.empty(0, dtype=torch.float64))
    level = schedule.at(schedule.time_of(clean - share * (clean - noisy)))
    level = level.map(lambda v: v.to(x_0.device, x_0.dtype))
    eps = draws.normal("eps", tuple(x_0.shape), x_0)
    found = predict(q_sample(x_0, eps, level), level)
    error = (found.eps.to(x_0.dtype) - eps).square().flatten(1).mean(1)
    weighted = error * ((clean - noisy) / (2 * math.log(2)))
    return weighted + reconstruction_term(x_0, eps, clean, None) + prior_term(x_0, noisy)


def ends_of(schedule: NoiseSchedule) -> tuple[float, float]:
    """Log-SNR at times 0 and 1; 13.3 or minus that where there is nearly no noise, or signal."""
    level = schedule.at(torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu"))
    clean, noisy = (2 * (level.alpha.log() - level.sigma.log())).tolist()
    return clean if clean < FAR else END, noisy if noisy > -FAR else -END


def prior_term(x_0: Tensor, log_snr: float) -> Tensor:
    """KL(q(z_1 | x_0) || N(0, 1)), ``(B,)``, bits per dimension; z_1 has this log-SNR."""
    alpha = math.sqrt(1 / (1 + math.exp(-log_snr)))
    log_var = -math.log1p(math.exp(log_snr))
    zero = torch.zeros((), dtype=x_0.dtype, device=x_0.device)
    return normal_kl(alpha * x_0, zero + log_var, zero, zero).flatten(1).mean(1) / math.log(2)


def reconstruction_term(x_0: Tensor, eps: Tensor, log_snr: float, levels: Levels | None) -> Tensor:
    """-log p(x_0 | z_0), ``(B,)``, bits per dimension; z_0 is x_0 and eps at this log-SNR.

    Of a density, its mean over eps.
    """
    log_std = torch.full((), -log_snr / 2, dtype=x_0.dtype, device=x_0.device)
    if levels is None:
        nats = (0.5 * math.log(2 * math.pi * math.e) + log_std).expand(len(x_0))
    else:
        near = x_0 + log_std.exp() * eps
        nats = -log_probability_of_level(x_0, near, log_std, levels).flatten(1).mean(1)
    return nats / math.log(2)
