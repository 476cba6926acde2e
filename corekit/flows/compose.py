"""Bijectors made of bijectors: a chain, a repetition, an inverse."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.bijector import Bijector, no_logdet
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import Likelihood, weakest
from corekit.nn.recompute import recomputed

Factory = Callable[..., Bijector]
"""Called with event_shape and context_shape; a built Bijector is accepted in its place."""


def make(of: "Factory | Bijector", event_shape: Shape, context_shape: Shape | None) -> Bijector:
    """Build a member for these shapes, or check that a built one fits."""
    if not isinstance(of, Bijector):
        return of(event_shape=event_shape, context_shape=context_shape)
    if of.event_shape != event_shape:
        raise ShapeError(
            f"{type(of).__name__}: event_shape must be {event_shape} here, got {of.event_shape}. "
            "It takes the shape that the bijector before it makes."
        )
    return of


class Chain(Bijector):
    r"""One bijector after another: z = f_n(... f_1(x)), log-determinants add.

    The context is handed to the members that declare one. ``chain[i]`` is a member,
    ``chain[i:j]`` a chain.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of the context offered to the members, or None.
        of: The members, in the direction data to latent: factories or built bijectors.

    Raises:
        UsageError: If there is no member.
        ShapeError: If a member does not take the shape that the one before it makes, or lives on
            another support.

    Example:
        >>> import torch
        >>> from corekit.flows.linear import Linear
        >>> chain = Chain((3,), of=[Linear, Linear])
        >>> z, logdet = chain(torch.randn(4, 3))
        >>> z.shape, logdet.shape, len(chain[:1])
        (torch.Size([4, 3]), torch.Size([4]), 1)
    """

    recompute: bool | None = False  # see corekit.nn.recompute

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        of: Sequence["Factory | Bijector"],
    ) -> None:
        super().__init__()
        if not of:
            raise UsageError("Chain: of must name at least one bijector, got none.")
        self.event_shape = tuple(event_shape)
        members: list[Bijector] = []
        shape = self.event_shape
        for item in of:
            members.append(make(item, shape, context_shape))
            shape = members[-1].latent_shape
        self.members = nn.ModuleList(members)
        for i, (first, second) in enumerate(pairwise(members)):
            if first.codomain is not second.domain:
                raise ShapeError(
                    f"Chain: member {i + 1} must live where member {i} ends "
                    f"({first.codomain.value}), got {second.domain.value}."
                )
        takes = [m.context_shape for m in members if m.context_shape is not None]
        self.context_shape = takes[0] if takes else None
        self.domain, self.codomain = members[0].domain, members[-1].codomain
        self.logdet_kind = weakest([m.logdet_kind for m in members])
        self.rows_coupled = any(m.rows_coupled for m in members)
        self.has_inverse = all(m.has_inverse for m in members)
        self.iterative = frozenset[str]().union(*(m.iterative for m in members))

    @property
    def latent_shape(self) -> Shape:
        """What the last member makes."""
        return self[-1].latent_shape

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Bijector]:
        return iter(self.members)  # type: ignore[arg-type]

    def __getitem__(self, index: int | slice) -> "Bijector | Chain":
        if isinstance(index, slice):
            picked = list(self.members)[index]
            return Chain(picked[0].event_shape, self.context_shape, of=picked)  # type: ignore[arg-type]
        return self.members[index]  # type: ignore[return-value]

    @hands_on
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the members one after the other, each on what the ones before it make."""
        for member in self:
            x = member.initialize(x, context if member.context_shape is not None else None)
        return x

    def initialize_inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The same from the last member to the first."""
        for member in reversed(list(self)):
            given = context if member.context_shape is not None else None
            z = member.initialize_inverse(z, given)
        return z

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        total = no_logdet(x)
        for member in self:
            given = context if member.context_shape is not None else None
            # What it drew for an estimate is not to be had a second time.
            drawn = member.logdet_kind is not Likelihood.EXACT
            x, logdet = member(x, given) if drawn else recomputed(self, member, x, given)
            total = total + logdet
        return x, total

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        total = no_logdet(z)
        for member in reversed(list(self)):
            z, logdet = member.inverse(z, context if member.context_shape is not None else None)
            total = total + logdet
        return z, total


class Repeat(Chain):
    """The same members again and again, each time with weights of their own.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of the context offered to the members, or None.
        times: How often, at least 1.
        of: One factory or several; each is built anew every time.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        times: int,
        of: Factory | Sequence[Factory],
    ) -> None:
        several = [of] if callable(of) else list(of)
        if times < 1:
            raise UsageError(f"Repeat: times must be at least 1, got {times}.")
        if any(isinstance(item, Bijector) for item in several):
            raise UsageError(
                "Repeat: of must be factories (a class or a function of shapes), got a built "
                "Bijector. It would share its weights; use Chain for that."
            )
        super().__init__(event_shape, context_shape, of=several * times)


class Inverse(Bijector):
    """A bijector run backwards: forward is its inverse, and the other way round.

    Args:
        event_shape: Shape of x, which is the latent shape of the bijector turned round.
        context_shape: Shape of the context, or None.
        of: The bijector to turn round. A factory builds one that keeps its shape, or comes from a
            spec, which knows what it takes; otherwise give it built.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        of: "Factory | Bijector",
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        # The factory of a spec knows of which shape it makes this one.
        before = getattr(of, "before", None)
        shape = self.event_shape if before is None else before(self.event_shape, context_shape)
        self.of = of if isinstance(of, Bijector) else make(of, shape, context_shape)
        if self.of.latent_shape != self.event_shape:
            raise ShapeError(
                f"Inverse: {type(self.of).__name__} must make the shape {self.event_shape}, got "
                f"{self.of.latent_shape}. Give a built bijector whose latent_shape it is."
            )
        self.context_shape = self.of.context_shape
        self.domain, self.codomain = self.of.codomain, self.of.domain
        self.logdet_kind, self.rows_coupled = self.of.logdet_kind, self.of.rows_coupled
        turned = {"forward": "inverse", "inverse": "forward"}
        self.iterative = frozenset(turned[direction] for direction in self.of.iterative)

    @property
    def latent_shape(self) -> Shape:
        """What the bijector takes."""
        return self.of.event_shape

    @hands_on
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The data are latents of the member: it starts from them, if it can, or refuses."""
        return self.of.initialize_inverse(x, context)

    def initialize_inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Turned round twice, the member starts from its own data."""
        return self.of.initialize(z, context)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.of.inverse(x, context)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, logdet = self.of(z, context)
        return z, logdet
