"""The TimestepSampler interface: which noise levels a training step looks at."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from corekit.interfaces.draws import Draws
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import NoiseLevel


class TimestepSampler(nn.Module, ABC):
    """Draws noise levels, and the weights that keep the expected loss what it was.

    **Implement one.** Write ``sample``. The mean of weight * loss must equal the mean of the loss
    over uniformly drawn levels, unless ``unbiased`` is False. A sampler that learns from losses
    writes ``observe``, which the trainer calls once per optimizer step with the losses of all
    processes, never in ``forward``.

    Attributes:
        unbiased: The weights keep the expected loss. False: the levels that are drawn more often
            count more, on purpose (EDM); a bound would be none any more.
    """

    unbiased: bool = True

    def prepare(self, schedule: NoiseSchedule) -> None:
        """Called once by the density that it trains, with its schedule. By default nothing."""

    @abstractmethod
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
        """Noise levels ``(n,)`` and weights ``(n,)``, or None where every weight is 1.

        ``draws`` differ from process to process already, but for ``draws.shared``. A sampler that
        spreads levels evenly over a whole batch takes the part ``rank`` of ``world``, each of about
        n rows.
        """

    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Learn from the unweighted losses of (original) steps t; by default nothing."""
