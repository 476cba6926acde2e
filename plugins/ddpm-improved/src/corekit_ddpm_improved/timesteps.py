"""Which noise levels a training step looks at: by their losses, evenly spread, or log-normal."""

import numpy as np
import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel
from corekit.interfaces.timestep_sampler import TimestepSampler


class LossSecondMoment(TimestepSampler):
    r"""Steps of large losses more often, so that the gradient of a bound is less noisy.

    .. math::
        p_t = (1 - u)\, \frac{m_t}{\sum_s m_s} + \frac{u}{T}, \qquad
        m_t = \sqrt{\tfrac1H \textstyle\sum_i \ell_{t,i}^2}, \qquad w_t = \frac{1}{T p_t}

    with the last H losses of each step; until every step has so many, p is uniform. What it has
    seen is in buffers: all processes keep the same, and a resumed run goes on with it.

    Args:
        steps: T; as many as the schedule has, if not given.
        history: H, how many losses of each step it remembers.
        uniform_share: u, drawn uniformly: no step is forgotten, and no weight exceeds 1 / u.

    Raises:
        UsageError: If the schedule is continuous or has another number of steps.

    Source: Nichol and Dhariwal, Improved DDPM, ICML 2021, section 3.3,
        https://arxiv.org/abs/2102.09672. Follows improved-diffusion, resample.py.
    """

    losses: Tensor
    counts: Tensor

    def __init__(
        self, steps: int | None = None, *, history: int = 10, uniform_share: float = 0.001
    ) -> None:
        super().__init__()
        self.history, self.uniform_share = history, uniform_share
        self._original: np.ndarray | None = None  # of a respaced schedule: its steps t
        if steps is not None:
            self._remember(steps)

    def prepare(self, schedule: NoiseSchedule) -> None:
        """Make room for the losses of every step of a schedule."""
        table = self._taken(schedule)
        respaced = not np.array_equal(table.original, np.arange(table.steps))
        self._original = table.original if respaced else None

    def sample(
        self,
        n: int,
        schedule: NoiseSchedule,
        draws: Draws,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> tuple[NoiseLevel, Tensor | None]:
        """Draw n levels and their weights; each process draws its own."""
        table = self._taken(schedule)
        p = self.probabilities.to(device)
        # float64, as far as there is: the rarest of 4000 steps has a share of 3e-7
        u = draws.uniform("t", (n,), torch.empty(0, dtype=p.dtype, device=device))
        t = torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=len(p) - 1)
        return table.level(t), (1 / (len(p) * p[t])).float()

    @property
    def probabilities(self) -> Tensor:
        """p, ``(T,)``, float64 where the device has it."""
        moments = self.losses.to(_wide(self.losses.device)).square().mean(1).sqrt()
        complete = (self.counts == self.history).all()
        moments = torch.where(complete & (moments.sum() > 0), moments, torch.ones_like(moments))
        share = self.uniform_share
        return (1 - share) * moments / moments.sum() + share / len(moments)

    @torch.no_grad()
    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Remember the last losses of each step, in the order of the rows; nothing waits."""
        if self._original is not None:
            known = torch.as_tensor(self._original, device=t.device)
            t = torch.searchsorted(known, t)
        size, steps = self.history, len(self.counts)
        t, order = t.sort(stable=True)
        losses = losses[order].to(self.losses.dtype)
        new = torch.zeros_like(self.counts).index_add_(0, t, torch.ones_like(t))
        left = (self.counts + new - size).clamp(min=0)  # how many old ones go, from the left
        # one more number behind the table takes what has no place in it
        table = torch.cat((self.losses.flatten(), self.losses.new_zeros(1)))
        column = torch.arange(size, device=t.device) + left[:, None]
        row = torch.arange(steps, device=t.device)[:, None] * size
        table[:-1] = table[torch.where(column < size, row + column, steps * size)].flatten()
        place = torch.arange(len(t), device=t.device) - torch.searchsorted(t, t)
        place = place + self.counts[t] - left[t]
        table[torch.where(place >= 0, t * size + place, steps * size)] = losses
        self.losses.copy_(table[:-1].reshape(steps, size))
        self.counts.copy_((self.counts + new).clamp(max=size))

    def _taken(self, schedule: NoiseSchedule) -> DiscreteSchedule:
        """The schedule, if there is room for its losses."""
        if not isinstance(schedule, DiscreteSchedule):
            raise UsageError(
                "LossSecondMoment: the schedule must have steps, got a continuous one. "
                "Use ddpm.antithetic or ddpm.log_normal."
            )
        if not hasattr(self, "losses"):
            self._remember(schedule.steps)
        if schedule.steps != len(self.losses):
            raise UsageError(
                f"LossSecondMoment: the schedule must have {len(self.losses)} steps, got "
                f"{schedule.steps}. Leave steps out: it takes those of the schedule."
            )
        return schedule

    def _remember(self, steps: int) -> None:
        self.register_buffer("losses", torch.zeros(steps, self.history))
        self.register_buffer("counts", torch.zeros(steps, dtype=torch.int64))


class Antithetic(TimestepSampler):
    r"""The levels of a whole batch, over all processes, in equal distances from a random one.

    .. math:: \tau_i = 1 - \big( (U + i / n) \bmod 1 \big), \qquad U \sim \mathrm{Uniform}[0, 1)

    Each level is uniform, so every weight is 1; together they vary less than independent ones.

    Source: Kingma et al., Variational Diffusion Models, NeurIPS 2021, app. I.1,
        https://arxiv.org/abs/2107.00630.
    """

    def sample(
        self,
        n: int,
        schedule: NoiseSchedule,
        draws: Draws,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> tuple[NoiseLevel, Tensor | None]:
        """Draw n levels: every world-th of the batch, from the rank-th."""
        like = torch.empty(0, dtype=_wide(device), device=device)
        places = (torch.arange(n, device=device) * world + rank).to(like.dtype) / max(n * world, 1)
        u = (draws.shared("t", like) + places) % 1
        if isinstance(schedule, DiscreteSchedule):
            return schedule.level((schedule.steps * u).long().clamp(max=schedule.steps - 1)), None
        return schedule.at((1 - u).float()), None


class LogNormal(TimestepSampler):
    r"""Levels whose noise-to-signal ratio is log-normal, wherever that is in time.

    .. math:: \log(\sigma / \alpha) \sim N(\text{mean}, \text{std}^2)

    The defaults are those of EDM, for data of standard deviation 0.5. For rectified flow, where
    :math:`\sigma / \alpha = \tau / (1 - \tau)`, this is the logit-normal density of times, and 0
    and 1 are usual. The nearest level of a table is taken.

    Training with it is training with another weight of each level: that is its purpose, and no
    weight takes it back.

    Args:
        mean: Of the logarithm.
        std: Of the logarithm.

    Source: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models,
        NeurIPS 2022, table 1, https://arxiv.org/abs/2206.00364; Esser et al., Scaling Rectified
        Flow Transformers, ICML 2024, section 3.1, https://arxiv.org/abs/2403.03206.
    """

    unbiased = False

    def __init__(self, mean: float = -1.2, std: float = 1.2) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def sample(
        self,
        n: int,
        schedule: NoiseSchedule,
        draws: Draws,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> tuple[NoiseLevel, Tensor | None]:
        """Draw n levels ``(n,)``; each process draws its own."""
        ratio = self.mean + self.std * draws.normal("t", (n,), torch.empty(0, device=device))
        if not isinstance(schedule, DiscreteSchedule):
            return schedule.at(schedule.time_of(-2 * ratio)), None
        log_snr = schedule.level(torch.arange(schedule.steps, device=device)).log_snr
        table: Tensor = -log_snr / 2  # type: ignore[operator]  # of a table there is always one
        t = torch.searchsorted((table[1:] + table[:-1]) / 2, ratio)
        return schedule.level(t), None


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
