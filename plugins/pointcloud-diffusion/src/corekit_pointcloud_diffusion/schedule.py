"""The variance schedule of the point-cloud models."""

import numpy as np

from corekit.diffusion.schedules import rescale_zero_terminal_snr
from corekit.interfaces.noise_schedule import DiscreteSchedule


class VarianceSchedule(DiscreteSchedule):
    """Betas in equal steps, literal: 200 steps from 1e-4 to 0.05, which reach noise.

    The reference's generator has 100 steps to 0.02; there alphas_cumprod ends at 0.364, although
    sampling starts from pure noise. Ask for it explicitly.

    Args:
        steps: T.
        beta_start, beta_end: First and last beta.
        zero_terminal_snr: Rescale so that the last level is pure noise.

    Source: Luo and Hu, CVPR 2021, section 5, https://arxiv.org/abs/2103.01458.
    """

    def __init__(
        self,
        *,
        steps: int = 200,
        beta_start: float = 1e-4,
        beta_end: float = 0.05,
        zero_terminal_snr: bool = False,
    ) -> None:
        betas = np.linspace(beta_start, beta_end, steps)
        super().__init__(rescale_zero_terminal_snr(betas) if zero_terminal_snr else betas)
