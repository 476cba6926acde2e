"""Glow's coupling layer: a shift, then a scale."""

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.affine import Additive, bounded
from corekit.flows.coupling import Coupling, NetworkFactory
from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.univariate import Univariate
from corekit_glow.net import GlowNet

Form = Literal["affine", "additive"]
Scale = Literal["sigmoid2", "exp_tanh", "clamped"]


class ShiftScale(Univariate):
    r"""A shift and then a scale for every element.

    .. math:: z = (x + t)\, s(r), \qquad \log|dz/dx| = \log s(r), \qquad
        s = f + (1 - f)\, s_0

    ========  ==================================  ====================================
    scale     log s_0 of the raw parameter r      s_0 lies in
    ========  ==================================  ====================================
    sigmoid2  log sigmoid(r + 2)                  (0, 1): it only contracts, 0.88 at 0
    exp_tanh  m tanh(r / m)                       (e^-m, e^m)
    clamped   (2 m / pi) arctan(pi r / (2 m))     (e^-m, e^m), with heavier tails of r
    ========  ==================================  ====================================

    Args:
        scale: How the raw parameter becomes a scale.
        floor: f in [0, 1): the least scale, so that the inverse, which divides by it, stays finite.
        max_log_scale: m, nats, of exp_tanh and clamped.

    Shape: x ``(B, *event)``, params ``(B, 2, *event)``: raw scale r, shift t.

    Raises:
        UsageError: If an option is unknown or out of range.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, and their code (sigmoid2); Ardizzone et al.,
        Guided Image Generation, 2019, https://arxiv.org/abs/1907.02392 (clamped).
    """

    parameters = 2

    def __init__(
        self, scale: Scale = "sigmoid2", *, floor: float = 1e-3, max_log_scale: float = 2.0
    ) -> None:
        if scale not in _LOG_SCALES:
            known = ", ".join(_LOG_SCALES)
            raise UsageError(f"ShiftScale: scale must be one of {known}, got {scale!r}.")
        if not (0 <= floor < 1 and max_log_scale > 0):
            raise UsageError(
                "ShiftScale: floor must lie in [0, 1) and max_log_scale be positive, got "
                f"{floor} and {max_log_scale}."
            )
        self.scale, self.floor, self.max_log_scale = scale, floor, max_log_scale

    def _forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        scale, log_scale = self._scales(raw.to(logdet_dtype(x)))
        return (x + shift) * scale.to(x.dtype), log_scale

    def _inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        scale, log_scale = self._scales(raw.to(logdet_dtype(z)))
        return z / scale.to(z.dtype) - shift, -log_scale

    def _scales(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """s and log s."""
        if self.scale == "sigmoid2" and self.floor:  # far enough from 0 for its logarithm
            scale = torch.sigmoid(raw + 2) * (1 - self.floor) + self.floor
            return scale, scale.log()
        log_scale = _LOG_SCALES[self.scale](raw, self.max_log_scale)
        if self.floor:
            least = torch.full_like(log_scale, math.log(self.floor))
            log_scale = torch.logaddexp(least, log_scale + math.log1p(-self.floor))
        return log_scale.exp(), log_scale


def _sigmoid2(raw: Tensor, bound: float) -> Tensor:
    return logsigmoid(raw + 2)  # the logarithm of a sigmoid that underflows is not finite


def _clamped(raw: Tensor, bound: float) -> Tensor:
    slope = 0.5 * math.pi / bound
    return torch.atan(slope * raw) / slope


_LOG_SCALES = {"sigmoid2": _sigmoid2, "exp_tanh": bounded, "clamped": _clamped}


class GlowCoupling(Coupling):
    r"""The second half of the channels is shifted and scaled, given the first.

    .. math:: z_a = x_a, \qquad z_b = (x_b + t(x_a))\, s(x_a)

    Args:
        event_shape: Shape of x without the batch; the first axis is divided.
        context_shape: Shape of the context of the network, or None.
        form: affine, or additive: s = 1, which keeps volumes.
        scale: How s is bounded (`ShiftScale`).
        floor: The least scale.
        max_log_scale: Of exp_tanh and clamped.
        hidden: Channels of the default network of images.
        net: Factory of another network: ``(P, *half)`` from the first half, P = 2 or 1; `GlowNet`
            for images and a perceptron for vectors unless given.
        swap: Exchange the halves.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If there is nothing to divide.
        UsageError: If an option is unknown or out of range.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, section 3.3, https://arxiv.org/abs/1807.03039.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        form: Form = "affine",
        scale: Scale = "sigmoid2",
        floor: float = 1e-3,
        max_log_scale: float = 2.0,
        hidden: int = 512,
        net: NetworkFactory | None = None,
        swap: bool = False,
    ) -> None:
        if form not in ("affine", "additive"):
            raise UsageError(f"GlowCoupling: form must be affine or additive, got {form!r}.")
        if net is None and len(event_shape) == 3:
            net = partial(GlowNet, hidden=hidden)
        affine = ShiftScale(scale, floor=floor, max_log_scale=max_log_scale)
        univariate = affine if form == "affine" else Additive()
        super().__init__(event_shape, context_shape, univariate=univariate, net=net, swap=swap)
