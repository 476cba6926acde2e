"""The Stochastic interface: a map of data to a latent that draws random numbers on the way."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape, Support
from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.initialization import INIT_ROWS, hands_on
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.shapes import check_context, check_shape


class Stochastic(nn.Module, ABC):
    r"""A map :math:`x = g(z)` that forgets, and a draw of what it forgets given x; or the reverse.

    Dequantisation is one: g rounds down to the next level, and noise puts x somewhere into its
    bin. It is no `Bijector`: many z lead to one x. With a density p of z,

    .. math:: P(x) = \int_{g(z) = x} p(z)\, dz = \mathbb{E}_{q(z \mid x)} \frac{p(z)}{q(z \mid x)},
        \qquad \text{value} = -\log q(z \mid x)

    so that ``log p(z) + value`` is a ``weight``: its exponential is right on average. P is a
    probability where x takes single values, and a density elsewhere.

    Where ``draws_in`` is "inverse", z = h(x) forgets a part of x, and the way back draws it:

    .. math:: p(x) = p(z)\, p(x \mid z), \qquad \text{value} = \log p(x \mid z), \quad z = h(x)

    which is as exact as log p(z) is.

    **Implement one.** Set ``event_shape`` (and ``latent_shape``, ``context_shape``) in the
    constructor; write ``_forward``, which gives z and the value, and ``_inverse``. One of the two
    draws; what comes out of it must lead back to where it began, exactly.

    Attributes:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch.
        context_shape: Shape of the context, or None if it takes none.
        domain: Support of x.
        codomain: Support of z.
        kind: What ``log p(z) + value`` is, for an exact log p(z).
        draws_in: Which of the two ways draws.
        dequantizes: Whether P is a probability of the levels of the data, not a density.

    Shape:
        - x: ``(B, *event_shape)`` · z: ``(B, *latent_shape)`` · context: ``(B, *context_shape)``
        - value: ``(B,)``, nats; it and a z that is drawn are float32 at least

    Raises:
        ShapeError: If a tensor has another shape, or a context is missing or not taken.

    Source: Nielsen et al., SurVAE Flows, NeurIPS 2020, section 3 and table 1, where the two are
        generative and inference surjections, https://arxiv.org/abs/2007.02731.
    """

    event_shape: Shape
    context_shape: Shape | None = None
    domain: Support = Support.REAL
    codomain: Support = Support.REAL
    kind: Likelihood = Likelihood.WEIGHT
    draws_in: Literal["forward", "inverse"] = "forward"
    dequantizes: bool = False

    @property
    def latent_shape(self) -> Shape:
        """Shape of z; a map that changes it overrides this."""
        return self.event_shape

    def forward(
        self, x: Tensor, context: Tensor | None = None, generator: Randomness = None
    ) -> tuple[Tensor, LogProb]:
        """(z, value): z is drawn given x, or what is left of x."""
        self._check("x", x, self.event_shape, context)
        z, value = self._forward(x, context, as_draws(generator))
        return z, LogProb(value.to(logdet_dtype(x)), self.kind)

    def inverse(
        self, z: Tensor, context: Tensor | None = None, generator: Randomness = None
    ) -> Tensor:
        """The x that z belongs to, or a draw of one."""
        self._check("z", z, self.latent_shape, context)
        return self._inverse(z, context, as_draws(generator))

    @hands_on
    @torch.no_grad()
    def initialize(
        self, x: Tensor, context: Tensor | None = None, generator: Randomness = None
    ) -> Tensor:
        """Set data-dependent parameters from the whole init set, once; returns z.

        By default it sets nothing. One that owns a network or a bijector starts it first.
        """
        draws, parts = as_draws(generator), torch.split(x, INIT_ROWS)
        given = [None] * len(parts) if context is None else torch.split(context, INIT_ROWS)
        return torch.cat([self.forward(*pair, draws)[0] for pair in zip(parts, given, strict=True)])

    @abstractmethod
    def _forward(
        self, x: Tensor, context: Tensor | None, draws: Draws
    ) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _inverse(self, z: Tensor, context: Tensor | None, draws: Draws) -> Tensor: ...

    def _check(self, name: str, value: Tensor, shape: Shape, context: Tensor | None) -> None:
        who = type(self).__name__
        check_shape(who, name, value, shape)
        check_context(who, context, self.context_shape, value.shape[0])
