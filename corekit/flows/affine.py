"""The affine map of one number, and the shift alone."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from corekit.errors import UsageError
from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.univariate import Univariate

Scale = Literal["exp", "sigmoid2", "softplus", "softclip"]


class Affine(Univariate):
    r"""A scale and a shift for every element.

    .. math:: z = e^{\ell(r)} x + t, \qquad \log|dz/dx| = \ell(r)

    ==========  ==========================================  ==========================
    scale       log-scale l of the raw parameter r          scale lies in
    ==========  ==========================================  ==========================
    exp         m tanh(r / m); r itself if m is None        (e^-m, e^m)
    softclip    r / (1 + |r| / m)                           (e^-m, e^m)
    sigmoid2    log(sigmoid(r + 2) + f)                     (f, 1 + f): it contracts
    softplus    log(softplus(r + log(e - 1)) + f)           (f, infinity)
    ==========  ==========================================  ==========================

    Parameters of zero are the identity, but for sigmoid2 (scale 0.88) and for f.

    Args:
        scale: How the raw parameter becomes a scale.
        max_log_scale: m, nats: keeps the inverse finite early in training; None for no bound.
        floor: f, which bounds the inverse of sigmoid2 and softplus: where a feature hardly varies,
            a scale can be learned to vanish; None for 0 with sigmoid2 and 0.001 with softplus.

    Shape: x ``(B, *event)``, params ``(B, 2, *event)``: raw scale r, shift t.

    Raises:
        UsageError: If an option is unknown or out of range.

    Source: Dinh et al., ICLR 2017, https://arxiv.org/abs/1605.08803 (exp); Papamakarios et al.,
        NeurIPS 2017, https://arxiv.org/abs/1705.07057.
    """

    parameters = 2

    def __init__(
        self,
        scale: Scale = "exp",
        max_log_scale: float | None = 2.0,
        floor: float | None = None,
    ) -> None:
        if scale not in _LOG_SCALES:
            known = ", ".join(_LOG_SCALES)
            raise UsageError(f"Affine: scale must be one of {known}, got {scale!r}.")
        if max_log_scale is not None and not max_log_scale > 0:
            raise UsageError(f"Affine: max_log_scale must be positive, got {max_log_scale}.")
        if scale == "softclip" and max_log_scale is None:
            raise UsageError("Affine: scale 'softclip' must have a max_log_scale, got None.")
        if floor is not None and (scale not in _FLOORS or not floor >= 0):
            raise UsageError(
                f"Affine: floor must be at least 0, of the scales {' and '.join(_FLOORS)}, got "
                f"{floor} with {scale!r}."
            )
        self.scale, self.max_log_scale = scale, max_log_scale
        self.floor = _FLOORS.get(scale) if floor is None else floor
        self._limit = self.floor if scale in _FLOORS else max_log_scale

    def _forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        log_scale = _LOG_SCALES[self.scale](raw.to(logdet_dtype(x)), self._limit)
        return torch.addcmul(shift, x, log_scale.exp().to(x.dtype)), log_scale

    def _inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        log_scale = -_LOG_SCALES[self.scale](raw.to(logdet_dtype(z)), self._limit)
        return (z - shift) * log_scale.exp().to(z.dtype), log_scale


class Additive(Univariate):
    """A shift of every element: z = x + t, which keeps volumes.

    Shape: x ``(B, *event)``, params ``(B, 1, *event)``.
    Source: Dinh et al., NICE, 2015, https://arxiv.org/abs/1410.8516.
    """

    parameters = 1

    def _forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return x + params[:, 0], torch.zeros_like(x, dtype=logdet_dtype(x))

    def _inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return z - params[:, 0], torch.zeros_like(z, dtype=logdet_dtype(z))


def bounded(raw: Tensor, bound: float | None) -> Tensor:
    """m tanh(raw / m), between -m and m; raw itself without a bound.

    By a sigmoid, which torch computes six times as fast as a tanh on CPUs: 2 m sigmoid(2 r / m) - m
    differs from it by rounding, at most 2e-7 m in float32, and is 0 at 0.
    """
    if bound is None:
        return raw
    return torch.sigmoid(raw * (2 / bound)) * (2 * bound) - bound


def _sigmoid2(raw: Tensor, floor: float | None) -> Tensor:
    return torch.log(torch.sigmoid(raw + 2) + floor) if floor else logsigmoid(raw + 2)


def _softplus(raw: Tensor, floor: float | None) -> Tensor:
    return torch.log(softplus(raw + math.log(math.e - 1)) + (floor or 0.0))


def _softclip(raw: Tensor, bound: float | None) -> Tensor:
    return raw / (1 + raw.abs() / (bound or math.inf))


_FLOORS = {"sigmoid2": 0.0, "softplus": 1e-3}
_LOG_SCALES = {"exp": bounded, "sigmoid2": _sigmoid2, "softplus": _softplus, "softclip": _softclip}
