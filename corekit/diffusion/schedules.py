r"""Tables of betas, and rectified flow."""

import math
import warnings

import numpy as np
import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import NoiseSchedule, Table
from corekit.interfaces.records import NoiseLevel

SIGNAL_LEFT = 0.02
"""A schedule that ends with more of the data's variance than this is warned about."""


def linear_betas(
    steps: int, beta_start: float | None = None, beta_end: float | None = None
) -> Table:
    r"""Betas from ``beta_start`` to ``beta_end`` in equal steps, ``(steps,)``, float64.

    .. math:: \beta_t = \beta_{start} + \tfrac{t}{T - 1} (\beta_{end} - \beta_{start})

    Left out, they are the named default 1e-4 ... 0.02 of 1000 steps, scaled by 1000 / steps so
    that any number of steps adds about the same noise. Given, they are taken literally.

    Raises:
        UsageError: If only one end is given, or the scaled default would reach 1 (below 21 steps).

    Source:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, sec. 4,
        https://arxiv.org/abs/2006.11239; scaled as in improved-diffusion, gaussian_diffusion.py.
    """
    if (beta_start is None) != (beta_end is None):
        raise UsageError(
            "linear_betas: beta_start and beta_end must be given together or not at all, "
            f"got beta_start={beta_start}, beta_end={beta_end}."
        )
    if beta_start is None or beta_end is None:
        if steps < 21:
            raise UsageError(
                f"linear_betas: the default betas need at least 21 steps, got {steps}. "
                "Use more steps, or give beta_start and beta_end."
            )
        scale = 1000 / steps
        beta_start, beta_end = scale * 1e-4, scale * 0.02
    return np.linspace(beta_start, beta_end, steps, dtype=np.float64)


def cosine_betas(steps: int, s: float = 0.008, max_beta: float = 0.999) -> Table:
    r"""Betas of the cosine schedule, ``(steps,)``, float64.

    .. math::
        \beta_t = \min\Big(1 - \frac{f((t + 1) / T)}{f(t / T)},\, \beta_{max}\Big), \qquad
        f(u) = \cos^2\Big(\frac{u + s}{1 + s} \frac{\pi}{2}\Big)

    Source: Nichol and Dhariwal, Improved DDPM, ICML 2021, eq. 17,
        https://arxiv.org/abs/2102.09672.
    """
    u = np.arange(steps + 1) / steps
    products = np.cos((u + s) / (1 + s) * math.pi / 2) ** 2
    return np.minimum(1 - products[1:] / products[:-1], max_beta)


def rescale_zero_terminal_snr(betas: Table) -> Table:
    r"""The same betas, shifted and scaled so that nothing of the data is left at the last step.

    .. math::
        \sqrt{\bar\alpha_t'} = (\sqrt{\bar\alpha_t} - \sqrt{\bar\alpha_{T-1}})
            \frac{\sqrt{\bar\alpha_0}}{\sqrt{\bar\alpha_0} - \sqrt{\bar\alpha_{T-1}}}

    The first level stays, the last beta is 1. Such a schedule needs a denoiser that predicts v,
    x_0 or a velocity.

    Raises:
        UsageError: If there are fewer than two steps.

    Source: Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, WACV 2024,
        alg. 1, https://arxiv.org/abs/2305.08891.
    """
    if len(betas) < 2:
        raise UsageError(
            f"rescale_zero_terminal_snr: betas must be at least two numbers, got {len(betas)}."
        )
    alphas = np.sqrt(np.cumprod(1 - np.asarray(betas, dtype=np.float64)))
    first, last = alphas[0], alphas[-1]
    products = ((alphas - last) * first / (first - last)) ** 2
    return 1 - products / np.append(1.0, products[:-1])


class Rectified(NoiseSchedule):
    r"""Rectified flow: straight lines between data and noise.

    .. math:: \alpha = 1 - \tau, \qquad \sigma = \tau

    The velocity along a line is :math:`\dot x = \varepsilon - x_0`. At time 1 nothing of the data
    is left, so the denoiser must predict a velocity, v or x_0.

    Samplers with even steps take them in tau, at :math:`\tau' = s \tau / (1 + (s - 1) \tau)`. The
    levels are what they are without a shift: training is shifted by log s more in the mean of
    ``ddpm.log_normal``.

    Args:
        shift: s; above 1, steps are smaller where there is much noise: of large images, 3.

    Raises:
        UsageError: If the shift is not positive.

    Source: Liu et al., Flow Straight and Fast, ICLR 2023, eq. 1, https://arxiv.org/abs/2209.03003
        (whose time runs from noise to data; here 0 is data). Shift: Esser et al., Scaling Rectified
        Flow Transformers, ICML 2024, eq. 23, https://arxiv.org/abs/2403.03206.
    """

    def __init__(self, shift: float = 1.0) -> None:
        if not shift > 0:
            raise UsageError(f"Rectified: shift must be positive, got {shift}.")
        self.shift = shift

    def at(self, time: Tensor) -> NoiseLevel:
        """The level at any times in [0, 1]."""
        one = torch.ones_like(time)
        log_snr = 2 * (torch.log1p(-time) - time.log())
        return NoiseLevel(time, 1 - time, time, -one, one, log_snr)

    def time_of(self, log_snr: Tensor) -> Tensor:
        r""":math:`\tau = 1 / (1 + e^{\lambda / 2})`, from log-SNR lambda."""
        return torch.sigmoid(-log_snr / 2)

    def times(self, steps: int) -> Tensor:
        """Equal steps, shifted."""
        times = super().times(steps)
        return self.shift * times / (1 + (self.shift - 1) * times)


def end_of(schedule: NoiseSchedule) -> NoiseLevel:
    """The noisiest level of a schedule: ``(1,)``, float64, on the CPU."""
    return schedule.at(torch.ones(1, dtype=torch.float64, device="cpu"))


def warn_if_short_of_noise(schedule: NoiseSchedule) -> None:
    r"""Warn about a schedule whose last level still shows the data.

    Sampling starts from pure noise. If a share r of the variance of x_T comes from unit-variance
    data, the two differ, in nats per coordinate, by

    .. math::
        r = \frac{\alpha_T^2}{\alpha_T^2 + \sigma_T^2}, \qquad
        E_{x_0} \mathrm{KL}\big(q(x_T \mid x_0) \,\|\, N(0, \alpha_T^2 + \sigma_T^2)\big)
            = -\tfrac12 \log(1 - r)

    r is the last of alphas_cumprod if the variance is preserved; beyond 0.02 this warns.

    Source: the prior term of Ho et al. 2020, eq. 5; the flaw: Lin et al. 2024, sec. 3.1.
    """
    end = end_of(schedule)
    signal, noise = end.alpha.square().item(), end.sigma.square().item()
    left = signal / (signal + noise)
    if left <= SIGNAL_LEFT:
        return
    kl = -0.5 * math.log1p(-left) if left < 1 else math.inf
    warnings.warn(
        f"{type(schedule).__name__}: alphas_cumprod must end near 0, got {left:.4f}. "
        f"Sampling starts from N(0, I), which is {kl:.3f} nats per unit-variance dimension away "
        "from what training saw there. Use more steps or a larger beta_end (200 steps to 0.05 "
        "end at 0.006), or zero_terminal_snr with a denoiser that predicts v, x_0 or a velocity.",
        UserWarning,
        stacklevel=3,
    )
