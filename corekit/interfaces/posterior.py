"""The Posterior interface: a distribution over latents that depends on the data."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb


class Posterior(ABC):
    """q(z | x): what an encoder returns. A plain object that holds tensors.

    **Implement one.** Write ``rsample_and_log_prob`` (one pass: a sample with gradients and its
    density), ``log_prob`` and ``mode``; ``statistics`` adds numbers for the log.

    Shape: z ``(k * B, *latent_shape)``, draw by draw (all rows of the first draw, then of the
    second ...); log_q ``(k * B,)``, nats.
    """

    @abstractmethod
    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """k reparametrised samples per row, and log q(z | x) of each."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> LogProb:
        """log q(z | x), ``(B,)``."""

    @property
    @abstractmethod
    def mode(self) -> Tensor:
        """The most probable latent, ``(B, *latent_shape)``."""

    def stored(self) -> Tensor:
        """What `restored` makes this posterior from, one tensor per row ``(B, ...)``.

        Write both, and the latents of a data set can be kept (``train.cache``).

        Raises:
            UsageError: If this posterior cannot be kept.
        """
        raise UsageError(
            f"train.cache: the posterior must be one that can be kept, got "
            f"{type(self).__name__}, which has no `stored`. Leave out `cache`."
        )

    @classmethod
    def restored(cls, stored: Tensor) -> Posterior:
        """The posterior that gave ``stored``, or some rows of it."""
        raise UsageError(f"train.cache: {cls.__name__} has no `restored`. Leave out `cache`.")

    def statistics(self) -> dict[str, Tensor]:
        """Numbers over the batch worth logging: name -> ``()``."""
        return {}
