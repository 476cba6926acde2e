"""The Density interface, and its two roles: Prior and Decoder."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import NoDensity, UsageError
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.frozen import Freezable
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import Condition, LossTerms
from corekit.interfaces.shapes import check_shape
from corekit.interfaces.standardization import OfData

if TYPE_CHECKING:
    from corekit.interfaces.encoder import Encoder


class Density(Freezable, OfData, ABC):
    r"""A distribution :math:`p(x \mid c)` that can be trained and sampled, perhaps evaluated.

    **Implement one.** Set ``event_shape``, ``condition_shapes`` and ``kind``; write ``_sample``
    and either ``_log_prob`` (then the loss is its negative) or ``_loss``.

    Attributes:
        event_shape: Shape of x without the batch.
        condition_shapes: name of a `Condition` field -> its shape; empty if unconditional.
        kind: What `log_prob` returns (`Likelihood`); ``none`` if it has no density.
        support: Where samples lie.
        free_axes: Axes of the event that may have any length (points of a cloud).

    Shape: x ``(B, *event_shape)``; log_prob and loss ``(B,)``, nats unless stated.
    """

    event_shape: Shape
    condition_shapes: Mapping[str, Shape] = {}
    kind: Likelihood = Likelihood.EXACT
    support: Support = Support.REAL
    free_axes: tuple[int, ...] = ()

    def log_prob(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> LogProb:
        """log p(x | condition) with what it is.

        Raises:
            NoDensity: If this density has no likelihood.
        """
        self._check("x", x, condition)
        if self.kind is Likelihood.NONE:
            raise NoDensity(
                f"{type(self).__name__}: log_prob must have a likelihood, got kind 'none'. "
                f"{self._why()}"
            )
        found = self._log_prob(self.standardized(x), condition, as_draws(generator))
        return self.log_prob_of_data(found, x)

    def loss(
        self, x: Tensor, condition: Condition | None = None, draws: Randomness = None
    ) -> LossTerms:
        """What training minimises: -log p(x | condition) unless this density says otherwise."""
        self._check("x", x, condition)
        terms = self._loss(self.standardized(x), condition, as_draws(draws))
        return self._terms_of_data(terms, x)

    def prepare(self, data: DataSpec) -> None:
        """Called once by the model that it is a part of, with what x are.

        One that is no distribution of such x refuses them here. By default it does nothing.
        """

    @hands_on
    def initialize(self, x: Tensor, condition: Condition | None = None) -> None:
        """Set what depends on data from the whole init set, before training; by default nothing."""

    def sample(
        self,
        n: int | None = None,
        condition: Condition | None = None,
        *,
        shape: Shape | None = None,
        temperature: float = 1.0,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """Draw samples: ``n`` of them, or one per row of the condition.

        Args:
            n: How many; may be left out if a condition says it.
            condition: What to condition on.
            shape: Event shape of the samples where it may differ from training (free axes).
            temperature: Scales the standard deviation of the base noise; 1 samples the model.
            generator: Where the noise comes from.
            options: What only some densities take (``sampler``, ``callback``).
        """
        rows = _rows(condition)
        n = rows if n is None else n
        who = type(self).__name__
        if n is None:
            raise UsageError(f"{who}: sample must be told how many, got neither n nor a condition.")
        if rows is not None and rows != n:
            raise UsageError(f"{who}: n must equal the {rows} rows of the condition, got {n}.")
        shape = self.event_shape if shape is None else tuple(shape)
        fits = len(shape) == len(self.event_shape) and all(
            i in self.free_axes or a == b
            for i, (a, b) in enumerate(zip(shape, self.event_shape, strict=True))
        )
        if not fits:
            raise UsageError(
                f"{who}: the sample shape must be {self.event_shape}"
                f"{f', axes {self.free_axes} of any length' if self.free_axes else ''}, "
                f"got {shape}."
            )
        drawn = self._sample(n, condition, shape, temperature, as_draws(generator), **options)
        return self.restored(drawn)

    def _loss(self, x: Tensor, condition: Condition | None, draws: Draws) -> LossTerms:
        nll = -self._log_prob(x, condition, draws).value
        return LossTerms(nll, {"nll": nll}, units={"nll": "nats"})

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        raise NoDensity(f"{type(self).__name__}: it has no log_prob. {self._why()}")

    @abstractmethod
    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor: ...

    def _why(self) -> str:
        """Why there is no likelihood, for the error."""
        return "Use its loss and its samples."

    def _check(self, name: str, x: Tensor, condition: Condition | None) -> None:
        who = type(self).__name__
        check_shape(who, name, x, self.event_shape, free=self.free_axes)
        for part, shape in self.condition_shapes.items():
            value = getattr(condition, part, None)
            if value is None:
                raise UsageError(
                    f"{who}: needs the condition '{part}' of shape (batch, *{shape}), got none."
                )
            check_shape(who, f"condition.{part}", value, shape)


class Prior(Density):
    """A density over latents or over data, p(x). Built with ``(event_shape, condition)``.

    Attributes:
        starts_from_x: Of the prior of a latent model: whether ``initialize`` is given data instead
            of latents of data.
    """

    starts_from_x: bool = False

    def attach(self, encoder: "Encoder") -> None:
        """Called once by the latent model whose prior it is, with its encoder.

        A prior that is made of posteriors keeps a reference, not a submodule: the weights are the
        encoder's. By default it does nothing.
        """


class Decoder(Density):
    """A density over data given a latent, p(x | z): the condition's ``vector`` is z.

    Built with ``(event_shape, latent_shape)``.
    """

    @property
    def has_mean(self) -> bool:
        """Whether `mean` is known without sampling."""
        return type(self).mean is not Decoder.mean

    def mean(self, condition: Condition | None) -> Tensor:
        """E[x | z], where it is known without sampling; of standardised data, if it is told to.

        Raises:
            NoDensity: If this decoder can only sample.
        """
        raise NoDensity(f"{type(self).__name__}: it has no closed-form mean. Use sample.")


def _rows(condition: Condition | None) -> int | None:
    for value in condition or ():
        if value is not None:
            return int(value.shape[0])
    return None
