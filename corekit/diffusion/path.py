"""The levels that a sampler passes from noise to data: made once, before its first step."""

import torch
from torch import Tensor

from corekit.diffusion.process import Transition, reverse_of, transition
from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import NoiseLevel


class Path:
    r"""S steps between S + 1 levels; the numbers of all of them, float64 on the CPU.

    Every deterministic solver of first order takes the step

    .. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t
        + \Big(\alpha_s - \alpha_t \frac{\sigma_s}{\sigma_t}\Big) \hat x_0

    and those of higher order put a better estimate in the place of :math:`\hat x_0`. Both weights
    are finite from pure noise (alpha_t = 0) and to data (sigma_s = 0), where log-SNR is not.

    Args:
        schedule: Where the levels come from.
        times: From noise to data: decreasing, the last 0.
        like: What is sampled, ``(B, *event_shape)``: its rows, device and dtype.

    Attributes:
        alpha, sigma: Of the levels, ``(S + 1,)``.
        keep, pull: The two weights above of the steps, ``(S,)``.
        h: How far a step goes in log(alpha / sigma), ``(S,)``; infinite from noise and to data.
        transitions: Of the steps, ``(S,)``.
    """

    def __init__(self, schedule: NoiseSchedule, times: Tensor, like: Tensor) -> None:
        grid = schedule.at(checked(times))
        t, s = grid.map(lambda column: column[:-1]), grid.map(lambda column: column[1:])
        self.alpha, self.sigma = grid.alpha, grid.sigma
        self.keep = s.sigma / t.sigma
        self.pull = s.alpha - t.alpha * self.keep
        self.h = (grid.alpha.log() - grid.sigma.log()).diff()
        self.transitions: Transition = transition(t, s)
        self._levels = _rows(t._replace(reverse=reverse_of(self.transitions)), like)

    def __len__(self) -> int:
        return len(self.keep)

    def level(self, i: int) -> NoiseLevel:
        """Level i of all rows, ``(B,)``; a view, so nothing is copied and nobody waits."""
        return self._levels[i]


def checked(times: Tensor) -> Tensor:
    """The times in float64 on the CPU.

    Raises:
        UsageError: If they do not decrease from at most 1 to 0.
    """
    times = times.detach().to("cpu", torch.float64)
    fine = times.ndim == 1 and len(times) > 1
    if not (fine and bool((times.diff() < 0).all()) and times[-1] == 0 and times[0] <= 1):
        raise UsageError(
            "corekit.diffusion.samplers: times must decrease from at most 1 to 0 in at least one "
            f"step, got {times.tolist()}. Use sampler.times(schedule)."
        )
    return times


def _rows(levels: NoiseLevel, like: Tensor) -> list[NoiseLevel]:
    """Each level ``(S,)`` for every row ``(B,)``, where the sample is, in its precision."""
    wide = torch.promote_types(like.dtype, torch.float32)

    def placed(column: Tensor) -> Tensor:
        column = column.to(like.device, wide if column.is_floating_point() else column.dtype)
        return column[:, None].expand(-1, len(like))

    placed_levels = levels.map(placed)
    return [placed_levels.map(lambda c, i=i: c[i]) for i in range(len(levels.time))]
