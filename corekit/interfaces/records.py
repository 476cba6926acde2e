"""The records that cross module boundaries. NamedTuples: wrappers and pytrees see into them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from corekit.errors import UsageError


class Condition(NamedTuple):
    """What a model is conditioned on: whichever of these is present.

    Shape:
        - vector: ``(B, C)``; a latent code or any feature vector
        - labels: ``(B,)``, int64; -1 is the null label
        - image: ``(B, C, H, W)``
        - points: ``(B, M, 3)`` with mask ``(B, M)``, True where a point is given
    """

    vector: Tensor | None = None
    labels: Tensor | None = None
    image: Tensor | None = None
    points: Tensor | None = None
    mask: Tensor | None = None

    def drop(self, rows: Tensor) -> "Condition":
        """The condition with some rows replaced by "nothing": zeros, label -1, no points.

        Args:
            rows: bool ``(B,)``, True where the condition is removed.
        """

        def cleared(value: Tensor | None, null: float = 0.0) -> Tensor | None:
            if value is None:
                return None
            keep = ~rows.reshape(-1, *(1,) * (value.ndim - 1))
            return value.where(keep, torch.as_tensor(null, dtype=value.dtype, device=value.device))

        return Condition(
            cleared(self.vector),
            cleared(self.labels, -1),
            cleared(self.image),
            cleared(self.points),
            cleared(self.mask),
        )

    def repeated(self, times: int) -> "Condition":
        """Each row so many times, one after the other."""
        return Condition(*(v if v is None else v.repeat_interleave(times, 0) for v in self))

    @staticmethod
    def vector_of(condition: "Condition | None", who: str) -> Tensor:
        """The vector of a condition.

        Raises:
            UsageError: If there is none.
        """
        if condition is None or condition.vector is None:
            raise UsageError(f"{who}: needs the condition 'vector', got none.")
        return condition.vector

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Condition":
        """The same condition on another device."""
        move = (v if v is None else v.to(device, non_blocking=non_blocking) for v in self)
        return Condition(*move)


class Batch(NamedTuple):
    """A minibatch: data ``(B, *event_shape)``, its condition, and row numbers ``(B,)``."""

    x: Tensor
    condition: Condition | None = None
    index: Tensor | None = None  # type: ignore[assignment]  # hides tuple.index

    @property
    def rows(self) -> list[int]:
        """The row numbers; 0 ... B-1 if the batch has none."""
        return list(range(len(self.x))) if self.index is None else self.index.tolist()

    def split(self, parts: int) -> list["Batch"]:
        """The batch in at most so many parts, the last perhaps smaller."""
        if parts == 1:
            return [self]
        xs = self.x.chunk(parts)
        sizes = [len(x) for x in xs]
        indices = [None] * len(xs) if self.index is None else torch.split(self.index, sizes)
        conditions: list[Condition | None] = [None] * len(xs)
        if self.condition is not None:
            columns = [
                [None] * len(xs) if v is None else torch.split(v, sizes) for v in self.condition
            ]
            conditions = [Condition(*row) for row in zip(*columns, strict=True)]
        return [Batch(*row) for row in zip(xs, conditions, indices, strict=True)]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        condition = self.condition and self.condition.to(device, non_blocking=non_blocking)
        index = (
            self.index if self.index is None else self.index.to(device, non_blocking=non_blocking)
        )
        return Batch(self.x.to(device, non_blocking=non_blocking), condition, index)


class Reverse(NamedTuple):
    r"""One step back, from level t to the cleaner level s: q(x_s | x_t, x_0), and two variances.

    Shape: every field ``(B,)``.
        - from_x_t, from_x_0: weights of x_t and x_0 in the mean of q(x_s | x_t, x_0)
        - log_small: log of the variance of q(x_s | x_t, x_0); where s is clean data, and it is 0,
          that of the step before
        - log_large: log of the variance of q(x_t | x_s): of beta, between neighbours
    """

    from_x_t: Tensor
    from_x_0: Tensor
    log_small: Tensor
    log_large: Tensor


class NoiseLevel(NamedTuple):
    r"""Where on the noise schedule each row is: x_t = alpha x_0 + sigma eps.

    Shape: every field ``(B,)``, or None where the schedule has no such number.
        - time in [0, 1], 0 is clean data
        - alpha, sigma; dalpha, dsigma: derivatives with respect to time
        - log_snr = log(alpha^2 / sigma^2)
        - step: the ORIGINAL integer t = 0 ... T-1, also of a respaced schedule
        - beta: the (respaced) variance of the step that ends here
        - reverse: the step that a sampler takes from here; between neighbours, of a table
    """

    time: Tensor
    alpha: Tensor
    sigma: Tensor
    dalpha: Tensor | None = None
    dsigma: Tensor | None = None
    log_snr: Tensor | None = None
    step: Tensor | None = None
    beta: Tensor | None = None
    reverse: Reverse | None = None

    @property
    def columns(self) -> dict[str, Tensor]:
        """Every number that is present, by name; those of the step back as "reverse.log_small"."""
        own = dict(zip(self._fields[:-1], self[:-1], strict=True))
        back = {} if self.reverse is None else self.reverse._asdict()
        found = {**own, **{f"reverse.{name}": value for name, value in back.items()}}
        return {name: value for name, value in found.items() if value is not None}

    def map(self, function: Any) -> "NoiseLevel":
        """Apply a function to every field that is present."""
        fields: list[Any] = [v if v is None else function(v) for v in self[:-1]]
        back = None if self.reverse is None else Reverse(*map(function, self.reverse))
        return NoiseLevel(*fields)._replace(reverse=back)


class Shift(NamedTuple):
    """A prediction before a gradient moved it: for samplers that move their mean instead.

    Shape: all ``(B, *event_shape)``; gradient of a log-probability by noisy data.
    """

    x_0: Tensor
    eps: Tensor
    gradient: Tensor


class Prediction(NamedTuple):
    """What a denoiser believes: the clean data and the noise, consistent with each other.

    Shape: x_0, eps ``(B, *event_shape)``; log_variance the same or None (not learned). ``shift`` is
    there where a gradient guides: x_0 and eps follow it already.
    """

    x_0: Tensor
    eps: Tensor
    log_variance: Tensor | None = None
    shift: Shift | None = None


class LossTerms(NamedTuple):
    """What a training step minimises, and what it reports.

    Shape:
        - total: ``(B,)``; its mean over the rows is minimised
        - terms: name -> ``(B,)``, reported as means
        - batch_terms: name -> ``()``, reported as they are (statistics over the batch)
        - seen: path of a part -> (t, unweighted loss), for parts that learn from losses
        - units: name -> unit of every term ("nats", "squared error per coordinate", ...)
    """

    total: Tensor
    terms: Mapping[str, Tensor] = {}
    batch_terms: Mapping[str, Tensor] = {}
    seen: Mapping[str, tuple[Tensor, Tensor]] = {}
    units: Mapping[str, str] = {}
