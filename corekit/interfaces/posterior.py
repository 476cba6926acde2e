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

    Attributes:
        exact_mode: Whether ``mode`` is the most probable latent; without a formula for it, as of a
            flow, it is a typical one.
        pathwise: Whether the gradient of a draw is its derivative at fixed noise. One that chooses
            a component first has another, which is right on average.

    Shape: z ``(k * B, *latent_shape)``, draw by draw (all rows of the first draw, then of the
    second ...); log_q ``(k * B,)``, nats.
    """

    exact_mode: bool = True
    pathwise: bool = True

    @abstractmethod
    def rsample_and_log_prob(self, draws: Draws, k: int = 1) -> tuple[Tensor, LogProb]:
        """k reparametrised samples per row, and log q(z | x) of each."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> LogProb:
        """log q(z | x), ``(B,)``."""

    @property
    @abstractmethod
    def mode(self) -> Tensor:
        """The most probable latent, or (`exact_mode`) a typical one, ``(B, *latent_shape)``."""

    def detached(self) -> Posterior:
        """The same distribution, without gradients to its parameters.

        Raises:
            UsageError: If this posterior cannot be taken apart from what made it.
        """
        raise UsageError(
            f"{type(self).__name__}: it must have `detached` for this gradient estimator, got "
            "none. Use the estimator 'plain', or a diagonal Gaussian posterior."
        )

    def repeated(self, k: int) -> Posterior:
        """The same distributions k times: what k draws per row are scored by.

        Raises:
            UsageError: If this posterior cannot be repeated.
        """
        raise UsageError(
            f"{type(self).__name__}: it must have `repeated` to score several draws per row, got "
            "none. Score one draw, or use a diagonal Gaussian posterior."
        )

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
