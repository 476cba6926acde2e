"""The noise schedules of DDPM and improved DDPM."""

from corekit.diffusion.schedules import cosine_betas, linear_betas, rescale_zero_terminal_snr
from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule, Table
from corekit_ddpm_improved.respacing import Respacing, kept_steps


class Respaced(DiscreteSchedule):
    """A table of betas of which only some levels are kept, each with its alphas_cumprod.

    A network is told the original step of a level (`NoiseLevel.step`), so one that was trained on
    all of them fits.

    Args:
        betas: Of all T levels.
        zero_terminal_snr: Rescale them first.
        respacing: Which levels are kept (`corekit_ddpm_improved.respacing.kept_steps`); None: all.

    Raises:
        UsageError: If there are not so many levels.
    """

    def __init__(self, betas: Table, zero_terminal_snr: bool, respacing: Respacing | None) -> None:
        if zero_terminal_snr:
            betas = rescale_zero_terminal_snr(betas)
        super().__init__(betas)
        if respacing is None:
            return
        try:
            kept = kept_steps(len(betas), respacing)
        except ValueError as error:
            raise UsageError(f"{type(self).__name__}: {error}.") from None
        short = self.respace(kept)
        super().__init__(short.betas, short.original.tolist())


class Linear(Respaced):
    r"""Betas in equal steps.

    .. math:: \beta_t = \beta_{start} + \tfrac{t}{T - 1} (\beta_{end} - \beta_{start})

    Args:
        steps: T, the number of levels.
        beta_start, beta_end: First and last beta, literal. Left out, both are the default
            1e-4 ... 0.02 of 1000 steps, scaled by 1000 / steps; give both or neither.
        zero_terminal_snr: Rescale so that the last level is pure noise
            (`corekit.diffusion.schedules.rescale_zero_terminal_snr`).
        respacing: Keep some levels only: a number, "10,15,20" or "ddim25" (`Respaced`).

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
        respacing: Respacing | None = None,
    ) -> None:
        super().__init__(linear_betas(steps, beta_start, beta_end), zero_terminal_snr, respacing)


class Cosine(Respaced):
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
        respacing: Keep some levels only: a number, "10,15,20" or "ddim25" (`Respaced`).

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
        respacing: Respacing | None = None,
    ) -> None:
        super().__init__(cosine_betas(steps, s, max_beta), zero_terminal_snr, respacing)
