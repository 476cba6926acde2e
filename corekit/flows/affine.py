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
    sigmoid2    log sigmoid(r + 2)                          (0, 1): it only contracts
    softplus    log(softplus(r + log(e - 1)) + 0.001)       (0.001, infinity)
    ==========  ==========================================  ==========================

    Parameters of zero are the identity, but for sigmoid2 (scale 0.88) and for the 0.001.

    Args:
        scale: How the raw parameter becomes a scale.
        max_log_scale: m, nats: keeps the inverse finite early in training; None for no bound.

    Shape: x ``(B, *event)``, params ``(B, 2, *event)``: raw scale r, shift t.

    Raises:
        UsageError: If an option is unknown or out of range.

    Source: Dinh et al., ICLR 2017, https://arxiv.org/abs/1605.08803 (exp); Papamakarios et al.,
        NeurIPS 2017, https://arxiv.org/abs/1705.07057.
    """

    parameters = 2

    def __init__(self, scale: Scale = "exp", max_log_scale: float | None = 2.0) -> None:
        if scale not in _LOG_SCALES:
            known = ", ".join(_LOG_SCALES)
            raise UsageError(f"Affine: scale must be one of {known}, got {scale!r}.")
        if max_log_scale is not None and not max_log_scale > 0:
            raise UsageError(f"Affine: max_log_scale must be positive, got {max_log_scale}.")
        if scale == "softclip" and max_log_scale is None:
            raise UsageError("Affine: scale 'softclip' must have a max_log_scale, got None.")
        self.scale, self.max_log_scale = scale, max_log_scale

    def _forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        log_scale = _LOG_SCALES[self.scale](raw.to(logdet_dtype(x)), self.max_log_scale)
        return torch.addcmul(shift, x, log_scale.exp().to(x.dtype)), log_scale

    def _inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        log_scale = -_LOG_SCALES[self.scale](raw.to(logdet_dtype(z)), self.max_log_scale)
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


def _exp(raw: Tensor, bound: float | None) -> Tensor:
    return raw if bound is None else bound * torch.tanh(raw / bound)


def _sigmoid2(raw: Tensor, bound: float | None) -> Tensor:
    return logsigmoid(raw + 2)


def _softplus(raw: Tensor, bound: float | None) -> Tensor:
    return torch.log(softplus(raw + math.log(math.e - 1)) + 1e-3)


def _softclip(raw: Tensor, bound: float | None) -> Tensor:
    return raw / (1 + raw.abs() / (bound or math.inf))


_LOG_SCALES = {"exp": _exp, "sigmoid2": _sigmoid2, "softplus": _softplus, "softclip": _softclip}
