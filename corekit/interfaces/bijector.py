"""The Bijector interface: an invertible map with a known log-determinant."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.shapes import check_shape


class Bijector(nn.Module, ABC):
    r"""An invertible map :math:`z = f(x \mid c)`, data to latent, with a tractable Jacobian.

    .. math:: \log p(x \mid c) = \log p_Z(f(x \mid c)) + \log |\det \partial f / \partial x|

    **Implement one.** Set ``event_shape`` (and ``latent_shape``, ``context_shape`` where they
    differ from the defaults) in the constructor, and write ``_forward`` and ``_inverse``; each
    returns the mapped tensor and the log-determinant of the map in that direction. Never write
    in place. ``corekit.testing`` proves it: with random weights, against autograd's Jacobian.

    Attributes:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch.
        context_shape: Shape of the context, or None if it takes none.
        domain: Support of x.
        codomain: Support of z.
        logdet_kind: What the log-determinant is (`Likelihood`); a chain is as good as its weakest.
        rows_coupled: Whether a row depends on the others in its batch (batch norm in training).
        has_inverse: Whether ``inverse`` exists; a map for density estimation only may lack one.

    Shape:
        - x: ``(B, *event_shape)`` · z: ``(B, *latent_shape)`` · context: ``(B, *context_shape)``
        - logdet: ``(B,)``, nats; float64 if x is, else float32, also under autocast

    Raises:
        ShapeError: If a tensor has another shape, or a context is missing or not taken.
    """

    event_shape: Shape
    context_shape: Shape | None = None
    domain: Support = Support.REAL
    codomain: Support = Support.REAL
    logdet_kind: Likelihood = Likelihood.EXACT
    rows_coupled: bool = False
    has_inverse: bool = True

    @property
    def latent_shape(self) -> Shape:
        """Shape of z; a map that changes it overrides this."""
        return self.event_shape

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latent: (z, log|det dz/dx|)."""
        self._check("x", x, self.event_shape, context)
        z, logdet = self._forward(x, context)
        return z, logdet.to(logdet_dtype(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent to data: (x, log|det dx/dz|)."""
        self._check("z", z, self.latent_shape, context)
        x, logdet = self._inverse(z, context)
        return x, logdet.to(logdet_dtype(z))

    def logdet(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log|det dz/dx|, nats, ``(B,)``."""
        return self.forward(x, context)[1]

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set data-dependent parameters from the whole init set, once; returns z."""
        with torch.no_grad():
            return self.forward(x, context)[0]

    @abstractmethod
    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    def _check(self, name: str, value: Tensor, shape: Shape, context: Tensor | None) -> None:
        who = type(self).__name__
        check_shape(who, name, value, shape)
        if (context is None) != (self.context_shape is None):
            rule = "needs a context, got None" if context is None else "takes no context, got one"
            raise ShapeError(f"{who}: {rule}. Its context_shape is {self.context_shape}.")
        if context is not None and self.context_shape is not None:
            check_shape(who, "context", context, self.context_shape)
            if context.shape[0] != value.shape[0]:
                raise ShapeError(
                    f"{who}: context must have {value.shape[0]} rows, one per row of {name}, "
                    f"got {context.shape[0]}."
                )


def logdet_dtype(x: Tensor) -> torch.dtype:
    """float64 if x is, else float32: sums of logarithms are never kept in half precision."""
    return torch.promote_types(x.dtype, torch.float32)


def no_logdet(x: Tensor) -> Tensor:
    """The log-determinant of a volume-preserving map: zeros ``(B,)``."""
    return torch.zeros(x.shape[0], dtype=logdet_dtype(x), device=x.device)
