"""Flows among torch.distributions."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from corekit.errors import UsageError
from corekit.flows.prior import FlowPrior
from corekit.flows.torch_transforms import CONSTRAINTS, batch_of, expanded
from corekit.interfaces.density import Density
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Condition


class FlowDistribution(Distribution):
    """A density with exact log p as a ``torch.distributions.Distribution``.

    A context has the shape ``(*batch, C)``: it makes a batch of distributions, one per context, as
    torch's parameters do. Random numbers come from torch's global generator, as everywhere in
    ``torch.distributions``; samples with gradients (``rsample``) need a flow whose base is not
    learned.

    Args:
        density: A `FlowPrior`, or any other density of kind ``exact``.
        context: ``(*batch, *shape of the condition's vector)``, or None.

    Raises:
        UsageError: If the density is not exact, has another condition than a vector, or lies on a
            set that torch has no constraint for.
        ShapeError: If the context is missing, not taken, or of another shape.

    Example:
        >>> from corekit.flows.linear import Linear
        >>> flow = FlowDistribution(FlowPrior((2,), bijector=Linear))
        >>> x = flow.sample((3, 4))
        >>> x.shape, flow.log_prob(x).shape
        (torch.Size([3, 4, 2]), torch.Size([3, 4]))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 - as torch declares it

    def __init__(
        self, density: Density, context: Tensor | None = None, *, validate_args: bool | None = None
    ) -> None:
        takes = density.condition_shapes
        if density.kind is not Likelihood.EXACT or set(takes) - {"vector"}:
            raise UsageError(
                "FlowDistribution: the density must be exact and take no condition but a vector, "
                f"got kind '{density.kind.value}' and {', '.join(takes) or 'no condition'}."
            )
        if density.support not in CONSTRAINTS:
            raise UsageError(
                "FlowDistribution: the density must lie on one of "
                f"{', '.join(s.value for s in CONSTRAINTS)}, got {density.support.value}."
            )
        self.density = density
        self.context, self._vector = context, takes.get("vector")
        batch_shape = batch_of("FlowDistribution", context, self._vector)
        base = density.base if isinstance(density, FlowPrior) else density
        self.has_rsample = isinstance(density, FlowPrior) and not list(base.parameters())
        super().__init__(
            torch.Size(batch_shape), torch.Size(density.event_shape), validate_args=validate_args
        )

    @property
    def support(self) -> Any:
        """Where samples lie."""
        return constraints.independent(CONSTRAINTS[self.density.support], len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FlowDistribution":
        """The same distributions as a larger batch; only of those that have a context."""
        batch_shape = torch.Size(batch_shape)
        if self.context is None:
            raise UsageError(
                "FlowDistribution: only one with a context has a batch to expand, got none. "
                "Ask for samples of the shape that is wanted."
            )
        context = self.context.expand(*batch_shape, *(self._vector or ()))
        validate = self.__dict__.get("_validate_args")
        return FlowDistribution(self.density, context, validate_args=validate)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws ``(*sample_shape, *batch_shape, *event_shape)``, without gradients."""
        shape = self._extended_shape(torch.Size(sample_shape))
        rows = shape[: len(shape) - len(self.event_shape)].numel()
        condition = self._condition(shape)
        return self.density.sample(rows, condition).reshape(shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """The same, with gradients with respect to the weights and the context."""
        if not (self.has_rsample and isinstance(self.density, FlowPrior)):
            raise UsageError(
                "FlowDistribution: rsample must have a flow whose base has no parameters, got "
                f"{type(self.density).__name__}. Use sample."
            )
        flow, shape = self.density, self._extended_shape(torch.Size(sample_shape))
        condition = self._condition(shape)
        rows = shape[: len(shape) - len(self.event_shape)].numel()
        z = flow.base.sample(rows)
        x, _ = flow.bijector.inverse(z, None if condition is None else condition.vector)
        return flow.restored(x).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p ``(*sample_shape, *batch_shape)``, nats."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape)
        rows = value.expand(shape).reshape(-1, *self.event_shape)
        found = self.density.log_prob(rows, self._condition(shape)).value
        return found.reshape(shape[: len(shape) - len(self.event_shape)])

    def _condition(self, shape: torch.Size) -> Condition | None:
        """A row of context for each event of a shape."""
        lead = shape[: len(shape) - len(self.event_shape)]
        context = expanded(self.context, lead, self._vector)
        return None if context is None else Condition(context)
