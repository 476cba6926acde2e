"""Variational diffusion: a schedule linear in log-SNR, and the bound in continuous time."""

import math

import torch
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import Levels, levels_of
from corekit.diffusion.continuous_bound import prior_term, reconstruction_term
from corekit.diffusion.process import ends_at_data
from corekit.diffusion.schedules import end_of
from corekit.errors import UsageError
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit_ddpm_improved.weighted_losses import v_error

WEAKEST = -100.0
"""Where the log-SNR of a schedule ends for the prior term, if that has no signal at all."""


class VdmSchedule(NoiseSchedule):
    r"""A log-SNR that falls in a straight line.

    .. math:: \log \text{SNR} = -\gamma(\tau), \quad
        \gamma(\tau) = \gamma_{min} + \tau (\gamma_{max} - \gamma_{min}), \quad
        \alpha^2 = \text{sigmoid}(-\gamma), \quad \sigma^2 = \text{sigmoid}(\gamma)

    In continuous time only the ends matter to the bound. The source learns them, and between them a
    monotone network that lowers the variance of its estimate; here a schedule is a constant.

    Args:
        gamma_min: Minus the log-SNR at time 0; there is a little noise.
        gamma_max: Minus the log-SNR at time 1.

    Raises:
        UsageError: If gamma_min is not below gamma_max.

    Source: Kingma et al., Variational Diffusion Models, NeurIPS 2021, eq. 2-3 and app. H,
        https://arxiv.org/abs/2107.00630.
    """

    def __init__(self, gamma_min: float = -13.3, gamma_max: float = 5.0) -> None:
        if not gamma_min < gamma_max:
            raise UsageError(
                f"VdmSchedule: gamma_min must be below gamma_max, got {gamma_min} and {gamma_max}."
            )
        self.gamma_min, self.gamma_max = gamma_min, gamma_max

    def at(self, time: Tensor) -> NoiseLevel:
        """The level at any times in [0, 1]."""
        rise = self.gamma_max - self.gamma_min
        gamma = self.gamma_min + time * rise
        signal, noise = 1 / (1 + gamma.exp()), 1 / (1 + (-gamma).exp())
        alpha, sigma = signal.sqrt(), noise.sqrt()
        return NoiseLevel(
            time, alpha, sigma, -rise / 2 * alpha * noise, rise / 2 * sigma * signal, -gamma
        )

    def time_of(self, log_snr: Tensor) -> Tensor:
        """The time, in a straight line."""
        return (-log_snr - self.gamma_min) / (self.gamma_max - self.gamma_min)


class Vdm(DenoisingLoss):
    r"""The variational bound in continuous time, by one level of it.

    .. math::
        \ell = -\tfrac12 \frac{d\,\text{SNR}}{d\tau} |\hat x_0 - x_0|^2
            + \text{KL}\big(q(z_1 \mid x_0) \,\|\, N(0, I)\big) - \log p(x_0 \mid z_0),
        \qquad -\tfrac12 \text{SNR}' |\hat x_0 - x_0|^2
            = -\tfrac12 (\log \text{SNR})' |\hat\varepsilon - \varepsilon|^2

    in bits per dimension: its mean over times, drawn uniformly (or with weights), is the bound. The
    last two terms train nothing. On a schedule of steps the first is instead T times the KL of the
    step back with its fixed, small variance, and none for the last step back.

    For an estimate with a standard error: `corekit.diffusion.continuous_bound`.

    Shape: result ``(B,)``, bits per dimension (of densities, where data have no levels).

    Source: Kingma et al., Variational Diffusion Models, NeurIPS 2021, eq. 11-12 and 18 (with steps,
        eq. 13), https://arxiv.org/abs/2107.00630.
    """

    name, unit = "vdm", "bits per dimension"
    is_error, seeks_mean = False, True

    def __init__(self) -> None:
        super().__init__()
        self.schedule: NoiseSchedule | None = None
        self.steps: int | None = None
        self.ends: tuple[float, float] | None = None
        self.levels: Levels | None = None

    def prepare(self, schedule: NoiseSchedule, data: DataSpec | None = None) -> None:
        """Learn the ends of the schedule, and the levels of the data."""
        if data is not None and data.mean is not None and data.levels is not None:
            raise UsageError(
                "Vdm: data with levels must not be standardised, as the bound counts their bins. "
                "Set data.standardize to false."
            )
        self.levels = levels_of(data)
        if schedule is self.schedule:
            return  # nothing new; and a compiler cannot look at its numbers
        self.steps = schedule.steps if isinstance(schedule, DiscreteSchedule) else None
        first = torch.tensor([1 / (self.steps or math.inf)], dtype=torch.float64, device="cpu")
        clean, end = schedule.at(first), end_of(schedule)
        if clean.sigma.item() == 0:
            raise UsageError(
                "Vdm: the schedule must have a little noise at time 0, or the bound is infinite, "
                f"got sigma = 0 of {type(schedule).__name__}. Use ddpm.vdm_schedule."
            )
        log_snr = [2 * (at.alpha.log() - at.sigma.log()).item() for at in (clean, end)]
        self.schedule, self.ends = schedule, (log_snr[0], max(log_snr[1], WEAKEST))

    def forward(
        self, prediction: Prediction, x_0: Tensor, x_t: Tensor, eps: Tensor, level: NoiseLevel
    ) -> Tensor:
        """The bound of each row, by its level."""
        if self.ends is None:
            raise UsageError("Vdm: prepare(schedule) must come first, got a call before it.")
        error = v_error(prediction, x_0, eps, level)
        weight = self._weight(level.map(lambda column: column.to(error.dtype)))
        wide, clean = x_0.to(error.dtype), self.ends[0]
        told = reconstruction_term(wide, eps.to(error.dtype), clean, self.levels)
        return weight * error / math.log(2) + prior_term(wide, self.ends[1]) + told

    def _weight(self, level: NoiseLevel) -> Tensor:
        """Of the squared error of v, nats."""
        alpha, sigma = level.alpha, level.sigma
        total = (alpha.square() + sigma.square()).square()
        if self.steps is not None and level.reverse is not None:
            back = level.reverse
            kl = 0.5 * back.from_x_0.square() * (-back.log_small).exp()
            kl = torch.where(ends_at_data(back), torch.zeros_like(kl), kl)
            return self.steps * kl * sigma.square() / total
        if level.dalpha is None or level.dsigma is None:
            raise UsageError(
                "Vdm: the bound needs the derivatives of alpha and sigma, got a noise level "
                "without them. Let the schedule's at() return dalpha and dsigma."
            )
        return alpha * (alpha * level.dsigma - level.dalpha * sigma) / (sigma * total)
