"""The sampler protocol: from noise to data through a denoiser."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from corekit.interfaces.draws import Randomness
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import NoiseLevel, Prediction

Predict = Callable[[Tensor, NoiseLevel], Prediction]
"""(x_t, level) -> prediction, with condition, clipping and guidance bound."""

Callback = Callable[[int, Tensor, Prediction], None]
"""Called after each step with (steps done, x, prediction)."""


class Sampler(Protocol):
    """A small frozen object with a claimed order of accuracy and its options."""

    @property
    def order(self) -> int:
        """The error falls like steps to the power of minus this: a claim, tested as one."""
        ...

    @property
    def steps(self) -> int | None:
        """How many steps; None for as many as it takes by default."""
        ...

    @property
    def noise_share(self) -> float | None:
        """The noise of a step, as a share of the standard deviation of q(x_s | x_t, x_0).

        0: none, it is deterministic. 1: a step is one draw of q. None: an amount of its own.
        """
        ...

    def times(self, schedule: NoiseSchedule, steps: int | None = None) -> Tensor:
        """Its grid: ``steps + 1`` times from the noisiest level (time 1) to clean data (time 0).

        Without ``steps`` as many as it has itself. Float64, on the CPU; decreasing. Any number of
        steps from 1 to the levels of a table is possible, and all times are then of levels.
        """
        ...

    def __call__(
        self,
        predict: Predict,
        schedule: NoiseSchedule,
        x_T: Tensor,
        *,
        times: Tensor,
        generator: Randomness = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Follow ``times`` (decreasing, the last 0) from x_T to data; no gradient."""
        ...
