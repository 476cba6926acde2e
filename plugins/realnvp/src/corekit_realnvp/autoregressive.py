"""Autoregressive flows: each element moved given those before it."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import Affine, Scale
from corekit.flows.compose import Inverse
from corekit.flows.coupling import NetworkFactory
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.draws import Draws
from corekit.interfaces.univariate import Univariate
from corekit_realnvp.made import Made, Order


class Autoregressive(Bijector):
    r"""Move every element by a map whose parameters a network computes from the elements before.

    .. math::
        z_i = \tau(x_i;\, \theta_i(x_{<i}, c)), \qquad
        \log|\det \partial z / \partial x| = \sum_i \log|\tau'(x_i)|

    The Jacobian is triangular. Data to latent is one pass of the network. Latent to data goes
    element by element; a `Made`, and a `PixelCnn` where no gradient is asked for, compute each
    hidden unit once, another network is run once per rank.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of the context, or None.
        univariate: The map of one number; affine unless given, then it is MAF.
        net: Factory of an autoregressive network, called with ``in_shape`` and ``out_shape``
            ``(P, *event_shape)``; `Made` unless given.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the network is not autoregressive.

    Source: Papamakarios et al., Masked Autoregressive Flow, NeurIPS 2017,
        https://arxiv.org/abs/1705.07057.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        univariate: Univariate | None = None,
        net: NetworkFactory | None = None,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.univariate = Affine() if univariate is None else univariate
        self.domain, self.codomain = self.univariate.domain, self.univariate.codomain
        self.iterative = self.univariate.iterative
        self.net = (net or Made)(
            in_shape=self.event_shape,
            out_shape=(self.univariate.parameters, *self.event_shape),
            context_shape=self.context_shape,
        )
        if not self.net.autoregressive:
            raise ShapeError(
                "Autoregressive: net must be autoregressive (realnvp.made, realnvp.pixelcnn), got "
                f"{type(self.net).__name__}."
            )

    def _start_networks(self, given: Tensor, context: Tensor | None) -> None:
        self.net.initialize(given, context)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.univariate.forward(x, self.net(x, context))
        return z, log_slope.flatten(1).sum(1)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._by_unit:
            return self._inverse_by_unit(z, context)
        x = torch.zeros_like(z)
        for rank in range(self.net.rounds):
            found, _ = self.univariate.inverse(z, self.net(x, context))
            x = torch.where(self.net.rank == rank, found, x)
        return x, self.univariate.inverse(z, self.net(x, context))[1].flatten(1).sum(1)

    @property
    def _by_unit(self) -> bool:
        """Whether the network can compute one element after another."""
        return bool(getattr(self.net, "incremental", False))

    def _inverse_by_unit(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        columns = z.flatten(1).T.contiguous()
        log_slopes: list[Tensor] = []

        def element(feature: int, params: Tensor) -> Tensor:
            # The batch takes the place of the event: rows of parameters lie side by side.
            x, log_slope = self.univariate.inverse(columns[feature][None], params[None])
            log_slopes.append(log_slope)
            return x[0]

        x: Tensor = self.net.sequential(element, z, context)  # type: ignore[operator]
        return x, torch.cat(log_slopes).sum(0)

    @torch.no_grad()
    def ancestral(
        self, like: Tensor, context: Tensor | None, draws: Draws, temperature: float = 1.0
    ) -> Tensor:
        """Samples, each element drawn from the mixture that the elements before it give.

        The same distribution as ``inverse`` of samples of the base that the map has, without a
        search for the quantile: first a component, then a number of it.

        Args:
            like: ``(B, *event_shape)``, whose rows, dtype and device the samples have.
            context: Of the network, or None.
            draws: Where the random numbers come from.
            temperature: Scales the spread of every component.

        Raises:
            UsageError: If the map is not made of a mixture, or the network cannot go one by one.
        """
        draw = getattr(self.univariate, "draw", None)
        if draw is None or not self._by_unit:
            raise UsageError(
                "Autoregressive: components need a mixture and a network that goes element by "
                f"element (made, pixelcnn), got {type(self.univariate).__name__} and "
                f"{type(self.net).__name__}. Leave `components` out."
            )

        def element(feature: int, params: Tensor) -> Tensor:
            x: Tensor = draw(params.T[:, :, None], draws, temperature)[:, 0]
            return x

        x: Tensor = self.net.sequential(element, like, context)  # type: ignore[operator]
        return x


class Maf(Autoregressive):
    """Masked autoregressive flow: affine maps, likelihood in one pass, sampling one by one.

    Args:
        event_shape: ``(D,)``.
        context_shape: Shape of the context, or None.
        hidden: Width of each hidden layer of the network.
        order: sequential, reversed, random, or the place of each feature; alternate it.
        seed: Of the random order.
        scale: How a raw parameter becomes a scale (`corekit.flows.affine.Affine`).
        max_log_scale: Bound on the log-scale of exp and softclip, nats; None for none.

    Shape: x, z ``(B, D)``; logdet ``(B,)``, nats.
    Source: Papamakarios et al., NeurIPS 2017, https://arxiv.org/abs/1705.07057.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: Sequence[int] = (128, 128),
        order: Order | Sequence[int] = "sequential",
        seed: int = 0,
        scale: Scale = "exp",
        max_log_scale: float | None = 2.0,
    ) -> None:
        net = partial(Made, hidden=hidden, order=order, seed=seed)
        super().__init__(
            event_shape, context_shape, univariate=Affine(scale, max_log_scale), net=net
        )


class Iaf(Inverse):
    """Inverse autoregressive flow: `Maf` run backwards, so that sampling is one pass.

    Its likelihood of given data is slow; of its own samples it is known from sampling. Use it where
    a flow is trained by samples: as a posterior, or against an unnormalised density.

    Args: Those of `Maf`.

    Shape: x, z ``(B, D)``; logdet ``(B,)``, nats.
    Source: Kingma et al., NeurIPS 2016, https://arxiv.org/abs/1606.04934.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: Sequence[int] = (128, 128),
        order: Order | Sequence[int] = "sequential",
        seed: int = 0,
        scale: Scale = "exp",
        max_log_scale: float | None = 2.0,
    ) -> None:
        maf = partial(
            Maf, hidden=hidden, order=order, seed=seed, scale=scale, max_log_scale=max_log_scale
        )
        super().__init__(event_shape, context_shape, of=maf)
