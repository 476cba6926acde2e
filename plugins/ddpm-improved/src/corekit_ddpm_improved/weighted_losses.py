"""Squared errors with weights of their own: of the velocity, and min-SNR."""

from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.diffusion.process import NO_SIGNAL
from corekit.diffusion.schedules import end_of
from corekit.errors import UsageError
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit_ddpm_improved.losses import Mse


def v_error(prediction: Prediction, x_0: Tensor, eps: Tensor, level: NoiseLevel) -> Tensor:
    r"""Mean squared error of v, ``(B,)``, float32 at least: finite and exact at every level.

    An error in x_0 is a number times this, which has digits where x_0 follows from eps and where
    eps follows from x_0:

    .. math:: |\hat x_0 - x_0|^2 = \frac{\sigma^2}{(\alpha^2 + \sigma^2)^2} |\hat v - v|^2
    """
    return Mse("v")(prediction, x_0, x_0, eps, level)


class Velocity(Mse):
    r"""Squared error of the velocity: the loss of flow matching.

    .. math:: \ell = \tfrac1D |\hat u - \dot x_t|^2, \qquad
        \dot x_t = \dot\alpha x_0 + \dot\sigma \varepsilon

    On rectified flow :math:`\dot x_t = \varepsilon - x_0`. It is `Mse` with this target.

    Shape: result ``(B,)``, squared error per coordinate.

    Source: Lipman et al., Flow Matching, ICLR 2023, eq. 9, https://arxiv.org/abs/2210.02747;
        Liu et al., Flow Straight and Fast, ICLR 2023, eq. 1, https://arxiv.org/abs/2209.03003.
    """

    name = "velocity"

    def __init__(self) -> None:
        super().__init__("velocity")


class MinSnr(DenoisingLoss):
    r"""Squared error of x_0 with a weight that is the SNR, but at most gamma.

    .. math:: \ell = \min(\max(\text{SNR}, f), \gamma)\, \tfrac1D |\hat x_0 - x_0|^2

    Any denoiser may meet it, as its prediction is converted. With f = 0 these weights are, of the
    squared error of (variance preserved, but for the last)

    - eps: min(SNR, gamma) / SNR
    - v: min(SNR, gamma) / (SNR + 1)
    - the velocity of rectified flow: min(SNR, gamma) sigma^2

    They vanish where nothing of the data is left, though a sampler starts there. So f is 1 where
    the schedule ends without signal (v then has the weight 1 / (SNR + 1) in all noise above
    SNR = 1, and 1 at the end): the lower bound of Salimans and Ho.

    Args:
        gamma: The largest weight.
        floor: f, the smallest; None: 1 if the schedule ends without signal, else 0.

    Shape: result ``(B,)``, squared error per coordinate.

    Source: Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, ICCV 2023,
        eq. 7-8, https://arxiv.org/abs/2303.09556; f: Salimans and Ho, Progressive Distillation,
        ICLR 2022, section 4, https://arxiv.org/abs/2202.00512.
    """

    name = "min_snr"
    unit = "squared error per coordinate"

    def __init__(self, gamma: float = 5.0, *, floor: float | None = None) -> None:
        super().__init__()
        if gamma <= 0 or not 0 <= (floor or 0) <= gamma:
            raise UsageError(
                f"MinSnr: gamma must be positive and floor lie in [0, gamma], got {gamma} and "
                f"{floor}."
            )
        self.gamma, self.floor = gamma, floor
        self.least = floor or 0.0
        self.schedule: NoiseSchedule | None = None

    def prepare(self, schedule: NoiseSchedule, data: DataSpec | None = None) -> None:
        """Learn whether the schedule ends without signal."""
        if schedule is self.schedule:
            return  # nothing new; and a compiler cannot look at its numbers
        self.schedule = schedule
        if self.floor is None:
            empty = end_of(schedule).alpha.item() < NO_SIGNAL
            self.least = min(1.0, self.gamma) if empty else 0.0

    def forward(
        self, prediction: Prediction, x_0: Tensor, x_t: Tensor, eps: Tensor, level: NoiseLevel
    ) -> Tensor:
        """The weighted error of each row."""
        error = v_error(prediction, x_0, eps, level)
        signal, noise = (s.to(error.dtype).square() for s in (level.alpha, level.sigma))
        weight = (signal / noise).clamp(min=self.least, max=self.gamma)
        return weight * noise / (signal + noise).square() * error
