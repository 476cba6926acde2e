"""The Stochastic interface: a map of data to a latent that draws random numbers on the way."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from corekit.data_spec import Shape, Support
from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.shapes import check_context, check_shape


class Stochastic(nn.Module, ABC):
    r"""A map :math:`x = g(z)` that forgets, and a draw of what it forgets given x.

    Dequantisation is one: g rounds down to the next level, and noise puts x somewhere into its
    bin. It is no `Bijector`: many z lead to one x. With a density p of z,

    .. math:: P(x) = \int_{g(z) = x} p(z)\, dz = \mathbb{E}_{q(z \mid x)} \frac{p(z)}{q(z \mid x)},
        \qquad \text{value} = -\log q(z \mid x)

    so that ``log p(z) + value`` is a ``weight``: its exponential is right on average. P is a
    probability where x takes single values, and a density elsewhere.

    **Implement one.** Set ``event_shape`` (and ``latent_shape``, ``context_shape``) in the
    constructor; write ``_forward``, which draws z and gives -log q(z | x), and ``_inverse``, which
    is g. What comes out of ``forward`` must lead back to x, exactly.

    Attributes:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch.
        context_shape: Shape of the context, or None if it takes none.
        domain: Support of x.
        codomain: Support of z.
        kind: What ``log p(z) + value`` is, for an exact log p(z).

    Shape:
        - x: ``(B, *event_shape)`` · z: ``(B, *latent_shape)`` · context: ``(B, *context_shape)``
        - value: ``(B,)``, nats; z and value are float32 at least

    Raises:
        ShapeError: If a tensor has another shape, or a context is missing or not taken.
    """

    event_shape: Shape
    context_shape: Shape | None = None
    domain: Support = Support.REAL
    codomain: Support = Support.REAL
    kind: Likelihood = Likelihood.WEIGHT

    @property
    def latent_shape(self) -> Shape:
        """Shape of z; a map that changes it overrides this."""
        return self.event_shape

    def forward(
        self, x: Tensor, context: Tensor | None = None, generator: Randomness = None
    ) -> tuple[Tensor, LogProb]:
        """Draw z given x: (z, -log q(z | x))."""
        self._check("x", x, self.event_shape, context)
        z, value = self._forward(x, context, as_draws(generator))
        return z, LogProb(value.to(logdet_dtype(x)), self.kind)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The x that z belongs to."""
        self._check("z", z, self.latent_shape, context)
        return self._inverse(z, context)

    @abstractmethod
    def _forward(
        self, x: Tensor, context: Tensor | None, draws: Draws
    ) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _inverse(self, z: Tensor, context: Tensor | None) -> Tensor: ...

    def _check(self, name: str, value: Tensor, shape: Shape, context: Tensor | None) -> None:
        who = type(self).__name__
        check_shape(who, name, value, shape)
        check_context(who, context, self.context_shape, value.shape[0])
