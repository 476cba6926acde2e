"""The Bijector interface: an invertible map with a known log-determinant."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from corekit.data_spec import Shape, Support
from corekit.errors import UsageError
from corekit.interfaces.frozen import Freezable
from corekit.interfaces.initialization import INIT_ROWS, hands_on, sets_itself
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.shapes import check_context, check_shape

Way = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


class Bijector(Freezable, ABC):
    r"""An invertible map :math:`z = f(x \mid c)`, data to latent, with a tractable Jacobian.

    .. math:: \log p(x \mid c) = \log p_Z(f(x \mid c)) + \log |\det \partial f / \partial x|

    **Implement one.** Set ``event_shape`` (and ``latent_shape``, ``context_shape`` where they
    differ from the defaults) in the constructor, and write ``_forward`` and ``_inverse``; each
    returns the mapped tensor and the log-determinant of the map in that direction. Never write
    in place. ``corekit.testing`` proves it: with random weights, against autograd's Jacobian. Where
    there is no formula for the inverse, or none for the determinant, see `Contractive` and `Mapped`
    of `corekit.interfaces.numerical`.

    Attributes:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch.
        context_shape: Shape of the context, or None if it takes none.
        domain: Support of x.
        codomain: Support of z.
        logdet_kind: What the log-determinant is (`Likelihood`); a chain is as good as its weakest.
        rows_coupled: Whether a row depends on the others in its batch (batch norm in training).
        iterative: Directions, of "forward" and "inverse", that run until they converge: they are
            exact to rounding, and torch.compile takes them piecewise.
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
    iterative: frozenset[str] = frozenset()
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

    @hands_on
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set data-dependent parameters from the whole init set, once; returns z.

        By default only networks start. One that sets parameters calls this at its end.
        """
        self._check("x", x, self.event_shape, context)
        self._start_networks(x, context)
        return self._in_parts(self.forward, x, context)

    def initialize_inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The same where this map runs backwards (in an `Inverse`), from its latents; returns x.

        A map that sets no parameters needs none of its own.

        Raises:
            UsageError: If it starts from data x, which do not exist before it has started.
        """
        if sets_itself(self):
            raise UsageError(
                f"{type(self).__name__}: it starts from the data that it maps forwards, got their "
                "images, as it runs backwards here. Turn it round, or write initialize_inverse."
            )
        self._check("z", z, self.latent_shape, context)
        self._start_networks(z, context)
        return self._in_parts(self.inverse, z, context)

    def _start_networks(self, given: Tensor, context: Tensor | None) -> None:
        """Let each `Network` of this map start from what it will see of x, or z, and the context.

        One that owns networks overrides it.
        """

    @torch.no_grad()
    def _in_parts(self, way: Way, value: Tensor, context: Tensor | None) -> Tensor:
        """The image of an init set, of which a few rows at a time are in memory."""
        rows = len(value) if self.rows_coupled else INIT_ROWS
        parts = torch.split(value, max(rows, 1))
        if context is None:
            return torch.cat([way(part, None)[0] for part in parts])
        given = torch.split(context, max(rows, 1))
        return torch.cat([way(part, c)[0] for part, c in zip(parts, given, strict=True)])

    @abstractmethod
    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    def _check(self, name: str, value: Tensor, shape: Shape, context: Tensor | None) -> None:
        who = type(self).__name__
        check_shape(who, name, value, shape)
        check_context(who, context, self.context_shape, value.shape[0])


def logdet_dtype(x: Tensor) -> torch.dtype:
    """float64 if x is, else float32: sums of logarithms are never kept in half precision."""
    return torch.promote_types(x.dtype, torch.float32)


def no_logdet(x: Tensor) -> Tensor:
    """The log-determinant of a volume-preserving map: zeros ``(B,)``."""
    return torch.zeros(x.shape[0], dtype=logdet_dtype(x), device=x.device)
