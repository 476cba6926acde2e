"""Activation normalisation: a shift and a scale per channel that start from data."""

import math
import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.mixing import check_features, per_channel, positions
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.interfaces.initialization import INIT_ROWS


class ActNorm(Bijector):
    r"""A shift and a scale for each feature or channel, trained after a start from data.

    .. math:: z_c = (x_c + b_c)\, e^{\ell_c}, \qquad
        \log|\det \partial z / \partial x| = N \sum_c \ell_c

    with N positions per channel (pixels; 1 for a vector). `initialize` sets b to minus the mean and
    l to the logarithm of ``scale / (sd + eps)`` of the whole init set, in float64, so that
    the channels of z have mean 0 and standard deviation ``scale``. It does so once: that it has
    happened is a buffer, which a state dict keeps. Before it, the layer is the identity in both
    directions; no batch that is trained on, evaluated or sampled sets anything.

    A channel that is constant in the init set (one value is constant too) has no scale of its own:
    it keeps scale 1, is only centred, and a warning names it.

    Args:
        event_shape: Shape of x without the batch; the first axis is that of features or channels.
        context_shape: Not used: the map has no context.
        unbiased: Whether the variance is divided by n - 1 instead of n.
        scale: Standard deviation of z after `initialize`.
        eps: Added to the standard deviation of x there.
        floor: A channel with a smaller standard deviation counts as constant.

    Shape: x, z ``(B, C, ...)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event has no axis.
        UsageError: If floor or scale are not positive, or the init set is empty or not finite.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, section 3.1, https://arxiv.org/abs/1807.03039.

    Example:
        >>> layer = ActNorm((2,))
        >>> layer.initialize(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
        tensor([[-1.0000, -1.0000],
                [ 1.0000,  1.0000]])
    """

    initialised: Tensor

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        unbiased: bool = False,
        scale: float = 1.0,
        eps: float = 0.0,
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        check_features("ActNorm", event_shape)
        if not min(floor, scale) > 0 or eps < 0:
            raise UsageError(
                "ActNorm: floor and scale must be positive and eps at least 0, got "
                f"{floor}, {scale} and {eps}."
            )
        self.event_shape, self.unbiased, self.floor = tuple(event_shape), unbiased, floor
        self.scale, self.eps = scale, eps
        self.shift = nn.Parameter(torch.zeros(per_channel(event_shape)))
        self.log_scale = nn.Parameter(torch.zeros(per_channel(event_shape)))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Let z have mean 0 and deviation ``scale`` over the init set, once; returns z."""
        self._check("x", x, self.event_shape, context)
        self.start(lambda: x.split(INIT_ROWS))
        return super().initialize(x, context)

    def start(self, parts: Callable[[], Iterable[Tensor]]) -> None:
        """The same from an init set that is computed in parts, twice, and never in memory whole."""
        if not self.initialised:
            mean, log_std = self._statistics(parts)
            self._set(-mean, math.log(self.scale) - log_std)

    def initialize_inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Where the layer runs backwards: let x have mean 0 and that deviation; returns x."""
        self._check("z", z, self.latent_shape, context)
        if not self.initialised:
            mean, log_std = self._statistics(lambda: z.split(INIT_ROWS))
            log_scale = log_std - math.log(self.scale)
            self._set(mean * (-log_scale).exp(), log_scale)
        return self._in_parts(self.inverse, z, context)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return (x + self.shift) * self.log_scale.exp(), self._log_det(x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp() - self.shift, -self._log_det(z)

    def _log_det(self, x: Tensor) -> Tensor:
        total: Tensor = self.log_scale.to(logdet_dtype(x)).sum() * positions(self.event_shape)
        return total.expand(x.shape[0])

    @torch.no_grad()
    def _set(self, shift: Tensor, log_scale: Tensor) -> None:
        self.shift.copy_(shift.reshape(self.shift.shape))
        self.log_scale.copy_(log_scale.reshape(self.log_scale.shape))
        self.initialised.fill_(True)

    @torch.no_grad()
    def _statistics(self, parts: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of each channel, float64; log 1 where it is constant."""
        count, total = 0, torch.zeros(())
        for part in parts():
            count += part.numel() // max(part.shape[1], 1)
            total = total.to(part.device) + _per_channel(part.double()).sum(1)
        if not count:
            raise UsageError("ActNorm: the init set must have at least one row, got none.")
        mean = total / count
        squares = [
            (_per_channel(part.double()) - mean[:, None]).square().sum(1) for part in parts()
        ]
        std = (torch.stack(squares).sum(0) / max(count - int(self.unbiased), 1)).sqrt()
        if not bool(std.isfinite().all()):
            raise UsageError(
                "ActNorm: the init set must be finite, got NaN or infinity in channels "
                f"{_numbers(~std.isfinite())}."
            )
        constant = std < self.floor
        if bool(constant.any()):
            warnings.warn(
                f"ActNorm: each channel must vary in the init set, got a standard deviation below "
                f"{self.floor} in channels {_numbers(constant)}. They are centred, not scaled. Use "
                "more examples, or noise on the data.",
                stacklevel=2,
            )
        return mean, torch.where(constant, self.scale, std + self.eps).log()


def _per_channel(x: Tensor) -> Tensor:
    """``(B, C, ...)`` as ``(C, n)``."""
    return x.transpose(0, 1).flatten(1)


def _numbers(channels: Tensor) -> str:
    found = channels.nonzero().flatten().tolist()
    shown = ", ".join(map(str, found[:10]))
    return shown if len(found) <= 10 else f"{shown} and {len(found) - 10} more"
