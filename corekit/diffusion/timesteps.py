"""Which noise levels a training step looks at."""

import torch
from torch import Tensor

from corekit.interfaces.draws import Draws
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel
from corekit.interfaces.timestep_sampler import TimestepSampler


class Uniform(TimestepSampler):
    r"""Every level equally often, so every weight is 1.

    Integers t = 0 ... T-1 of a discrete schedule; times in (0, 1] of a continuous one.

    Source: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, alg. 1, line 3,
        https://arxiv.org/abs/2006.11239.
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
        """Draw n levels ``(n,)``, float32; each process draws its own, whatever its rank."""
        if isinstance(schedule, DiscreteSchedule):
            return schedule.level(draws.integers("t", schedule.steps, (n,), device)), None
        drawn = draws.uniform("t", (n,), torch.empty(0, device=device))
        return schedule.at(1 - drawn), None  # [0, 1) -> (0, 1]: clean data teach nothing
