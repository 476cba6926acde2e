"""The noise schedules of DDPM and improved DDPM."""

from corekit.diffusion.schedules import cosine_betas, linear_betas, rescale_zero_terminal_snr
from corekit.interfaces.noise_schedule import DiscreteSchedule


class Linear(DiscreteSchedule):
    r"""Betas in equal steps.

    .. math:: \beta_t = \beta_{start} + \tfrac{t}{T - 1} (\beta_{end} - \beta_{start})

    Args:
        steps: T, the number of levels.
        beta_start, beta_end: First and last beta, literal. Left out, both are the default
            1e-4 ... 0.02 of 1000 steps, scaled by 1000 / steps; give both or neither.
        zero_terminal_snr: Rescale so that the last level is pure noise
            (`corekit.diffusion.schedules.rescale_zero_terminal_snr`).

    Source:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, sec. 4,
        https://arxiv.org/abs/2006.11239. Follows improved-diffusion, gaussian_diffusion.py.

    Example:
        >>> Linear(4, 0.1, 0.4).betas
        array([0.1, 0.2, 0.3, 0.4])
    """

    def __init__(
        self,
        steps: int = 1000,
        beta_start: float | None = None,
        beta_end: float | None = None,
        *,
        zero_terminal_snr: bool = False,
    ) -> None:
        betas = linear_betas(steps, beta_start, beta_end)
        super().__init__(rescale_zero_terminal_snr(betas) if zero_terminal_snr else betas)


class Cosine(DiscreteSchedule):
    r"""Levels whose alphas_cumprod follow a squared cosine.

    .. math::
        \bar\alpha_t \propto \cos^2\Big(\frac{(t + 1)/T + s}{1 + s} \frac{\pi}{2}\Big), \qquad
        \beta_t \le \beta_{max}

    Args:
        steps: T, the number of levels.
        s: Offset in time; keeps the first betas from 0.
        max_beta: Betas are clipped here.
        zero_terminal_snr: Rescale so that the last level is pure noise
            (`corekit.diffusion.schedules.rescale_zero_terminal_snr`).

    Source: Nichol and Dhariwal, Improved DDPM, ICML 2021, eq. 17,
        https://arxiv.org/abs/2102.09672.
    """

    def __init__(
        self,
        steps: int = 1000,
        s: float = 0.008,
        max_beta: float = 0.999,
        *,
        zero_terminal_snr: bool = False,
    ) -> None:
        betas = cosine_betas(steps, s, max_beta)
        super().__init__(rescale_zero_terminal_snr(betas) if zero_terminal_snr else betas)
