"""Bijectors among the transforms of torch.distributions, and those among bijectors."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, constraints
from torch.distributions.transforms import _InverseTransform

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.bijector import Bijector, logdet_dtype, no_logdet
from corekit.interfaces.likelihood import Likelihood

CONSTRAINTS = {
    Support.REAL: constraints.real,
    Support.POSITIVE: constraints.positive,
    Support.UNIT_INTERVAL: constraints.unit_interval,
}


class BijectorTransform(Transform):
    """A bijector as a ``torch.distributions.Transform``, data to latent; ``.inv`` is the way back.

    Args:
        bijector: With an inverse and an exact log-determinant.
        context: ``(*batch, *context_shape)``, expanded over the leading axes of what comes in.

    Raises:
        UsageError: If the bijector has no inverse, or its log-determinant is an estimate.
        ShapeError: If the context is missing, not taken, or of another shape.

    Example:
        >>> from torch.distributions import Independent, Normal, TransformedDistribution
        >>> from corekit.flows.linear import Linear
        >>> base = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> flow = TransformedDistribution(base, [BijectorTransform(Linear((2,))).inv])
        >>> flow.log_prob(flow.sample((5,))).shape
        torch.Size([5])
    """

    bijective = True

    def __init__(self, bijector: Bijector, context: Tensor | None = None) -> None:
        super().__init__(cache_size=0)
        if not bijector.has_inverse or bijector.logdet_kind is not Likelihood.EXACT:
            raise UsageError(
                f"BijectorTransform: {type(bijector).__name__} must have an inverse and an exact "
                f"log-determinant, got has_inverse={bijector.has_inverse} and "
                f"'{bijector.logdet_kind.value}'."
            )
        batch_of("BijectorTransform", context, bijector.context_shape)
        self.bijector, self.context = bijector, context

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:
        """Where x lies."""
        return self._constraint(self.bijector.domain, self.bijector.event_shape)

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:
        """Where z lies."""
        return self._constraint(self.bijector.codomain, self.bijector.latent_shape)

    def forward_shape(self, shape: Any) -> torch.Size:
        """The shape of z."""
        size = len(self.bijector.event_shape)
        return torch.Size((*shape[: len(shape) - size], *self.bijector.latent_shape))

    def inverse_shape(self, shape: Any) -> torch.Size:
        """The shape of x."""
        size = len(self.bijector.latent_shape)
        return torch.Size((*shape[: len(shape) - size], *self.bijector.event_shape))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log|det dz/dx|, one number per event."""
        lead, rows, context = self._rows(x, self.bijector.event_shape)
        return self.bijector.logdet(rows, context).reshape(lead)

    def _call(self, x: Tensor) -> Tensor:
        lead, rows, context = self._rows(x, self.bijector.event_shape)
        return self.bijector(rows, context)[0].reshape(*lead, *self.bijector.latent_shape)

    def _inverse(self, y: Tensor) -> Tensor:
        lead, rows, context = self._rows(y, self.bijector.latent_shape)
        return self.bijector.inverse(rows, context)[0].reshape(*lead, *self.bijector.event_shape)

    def _rows(self, value: Tensor, event_shape: Shape) -> tuple[torch.Size, Tensor, Tensor | None]:
        lead = value.shape[: value.ndim - len(event_shape)]
        rows = value.reshape(-1, *event_shape)
        return lead, rows, expanded(self.context, lead, self.bijector.context_shape)

    @staticmethod
    def _constraint(support: Support, shape: Shape) -> Any:
        return constraints.independent(CONSTRAINTS.get(support, constraints.real), len(shape))


class FromTransform(Bijector):
    """A ``torch.distributions.Transform`` as a bijector: its forward is data to latent.

    Its tensors, if it has any, are constants: they do not move with the module, and are not
    learned.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Not used: the map has no context.
        transform: One to one, on the real line, the positive numbers or the unit interval.

    Shape: x ``(B, *event_shape)``, z ``(B, *latent_shape)``; logdet ``(B,)``, nats.

    Raises:
        UsageError: If the transform is not one to one, or lives elsewhere.
        ShapeError: If it makes more or fewer numbers.

    Example:
        >>> from torch.distributions.transforms import ExpTransform
        >>> FromTransform((2,), transform=ExpTransform())(torch.zeros(1, 2))
        (tensor([[1., 1.]]), tensor([0.]))
    """

    def __init__(
        self, event_shape: Shape, context_shape: Shape | None = None, *, transform: Transform
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        name = type(transform).__name__
        if not transform.bijective:
            raise UsageError(f"FromTransform: the transform must be one to one, got {name}.")
        self.domain = _support_of(name, transform.domain)
        self.codomain = _support_of(name, transform.codomain)
        self._latent_shape = tuple(transform.forward_shape(torch.Size(self.event_shape)))
        sizes = [torch.Size(shape).numel() for shape in (self.event_shape, self._latent_shape)]
        if sizes[0] != sizes[1]:
            raise ShapeError(
                f"FromTransform: {name} must make as many numbers as it takes, got {sizes[1]} of "
                f"{sizes[0]}."
            )
        # Without a cache: one by identity gives wrong gradients. An inverse cannot be pickled.
        self._turned = isinstance(transform, _InverseTransform)
        self._of = (transform.inv if self._turned else transform).with_cache(0)

    @property
    def latent_shape(self) -> Shape:
        """What the transform makes."""
        return self._latent_shape

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z = self._there()(x)
        return z, self._logdet(x, z)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self._there().inv(z)
        return x, -self._logdet(x, z)

    def _there(self) -> Transform:
        return self._of.inv if self._turned else self._of

    def _logdet(self, x: Tensor, z: Tensor) -> Tensor:
        wide = logdet_dtype(x)
        if not len(x):
            return no_logdet(x)
        each = self._there().log_abs_det_jacobian(x.to(wide), z.to(wide))
        return each.reshape(len(x), -1).sum(1)


def _support_of(name: str, constraint: Any) -> Support:
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    for support, known in CONSTRAINTS.items():
        if constraint is known or (
            support is Support.REAL and constraint is constraints.real_vector
        ):
            return support
    raise UsageError(
        f"FromTransform: {name} must live on the real line, the positive numbers or the unit "
        f"interval, got {constraint}."
    )


def batch_of(who: str, context: Tensor | None, shape: Shape | None) -> Shape:
    """The batch that a context makes."""
    if (context is None) != (shape is None):
        rule = "needs a context, got None" if context is None else "takes no context, got one"
        raise ShapeError(f"{who}: {rule}. Its shape is {shape}.")
    if context is None or shape is None:
        return ()
    size = context.ndim - len(shape)
    if size < 0 or tuple(context.shape[size:]) != tuple(shape):
        raise ShapeError(
            f"{who}: context must have shape (*batch, {', '.join(map(str, shape))}), got "
            f"{tuple(context.shape)}."
        )
    return tuple(context.shape[:size])


def expanded(context: Tensor | None, lead: torch.Size, shape: Shape | None) -> Tensor | None:
    """A row of context for each event: ``(rows, *shape)``."""
    if context is None or shape is None:
        return None
    return context.expand(*lead, *shape).reshape(-1, *shape)
