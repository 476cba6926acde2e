"""Affine coupling layers (RealNVP)."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.bijector import Bijector, logdet_dtype


class AffineCoupling(Bijector):
    r"""Scale and shift one half of the features, conditioned on the other half.

    With x = (x_a, x_b), x_a the first ceil(D / 2) features (or channels) and networks s, t:

    .. math::
        z_a = x_a, \qquad z_b = x_b \odot e^{\ell(x_a, c)} + t(x_a, c), \qquad
        \log |\det \partial z / \partial x| = \sum_d \ell_d

    ``swap`` exchanges the two roles; alternate it along a chain. The log-scale is bounded,
    l = m tanh(s / m), so that the inverse stays finite early in training; the paper bounds it by a
    learned multiple of tanh. ``scale="sigmoid2"`` is l = log sigmoid(s + 2) instead, which only
    contracts (diffusion-point-cloud and Glow use it).

    Args:
        event_shape: ``(D,)`` with a perceptron, or ``(C, H, W)`` with a convolutional conditioner.
        context_shape: ``(C,)`` of the context, or None. It is concatenated to x_a.
        swap: Condition on the second half and transform the first.
        hidden: Width of the two hidden layers of the conditioner.
        scale: "exp" or "sigmoid2".
        max_log_scale: m, the bound on the log-scale of "exp", nats.

    Shape:
        - x, z: ``(B, D)`` or ``(B, C, H, W)``; any D >= 2, odd too
        - logdet: ``(B,)``, nats; float64 if x is, else float32

    Raises:
        ShapeError: If the event cannot be split, or a tensor has another shape.

    Source:
        Dinh et al., Density estimation using Real NVP, ICLR 2017, eq. 4-9,
        https://arxiv.org/abs/1605.08803.

    Example:
        >>> layer = AffineCoupling((5,), hidden=8)
        >>> z, logdet = layer(torch.randn(3, 5))
        >>> z.shape, logdet.shape
        (torch.Size([3, 5]), torch.Size([3]))
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        swap: bool = False,
        hidden: int = 256,
        scale: Literal["exp", "sigmoid2"] = "exp",
        max_log_scale: float = 2.0,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.context_shape = context_shape
        self._check_arguments(scale, max_log_scale)
        features = event_shape[0]
        first = (features + 1) // 2
        self.sizes = (first, features - first)
        self.swap, self.scale, self.max_log_scale = swap, scale, max_log_scale
        kept, moved = self.sizes[::-1] if swap else self.sizes
        self.conditioner = _conditioner(
            kept + (context_shape[0] if context_shape else 0), hidden, 2 * moved, len(event_shape)
        )
        if scale == "exp":  # a new layer is the identity
            last: Any = self.conditioner[-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved = self._split(x)
        log_scale, shift = self._log_scale_and_shift(kept, context)
        return self._join(kept, moved * log_scale.exp().to(x.dtype) + shift), _sum(log_scale)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        # The kept half of z equals that of x, so the conditioner sees the same input.
        kept, moved = self._split(z)
        log_scale, shift = self._log_scale_and_shift(kept, context)
        return self._join(kept, (moved - shift) * (-log_scale).exp().to(z.dtype)), -_sum(log_scale)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.split(self.sizes, dim=1)
        return (b, a) if self.swap else (a, b)

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat((moved, kept) if self.swap else (kept, moved), dim=1)

    def _log_scale_and_shift(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if context is not None:
            context = context.reshape(*context.shape, *(1,) * (kept.ndim - 2))
            kept = torch.cat([kept, context.expand(*context.shape[:2], *kept.shape[2:])], dim=1)
        raw, shift = self.conditioner(kept).chunk(2, dim=1)
        raw = raw.to(logdet_dtype(raw))
        if self.scale == "sigmoid2":
            return logsigmoid(raw + 2), shift
        return self.max_log_scale * torch.tanh(raw / self.max_log_scale), shift

    def _check_arguments(self, scale: str, max_log_scale: float) -> None:
        if len(self.event_shape) not in (1, 3) or self.event_shape[0] < 2:
            raise ShapeError(
                "AffineCoupling: event_shape must be (features,) or (channels, height, width) with "
                f"at least 2 features or channels to split, got {self.event_shape}."
            )
        if self.context_shape is not None and len(self.context_shape) != 1:
            raise ShapeError(
                f"AffineCoupling: context_shape must be (features,), got {self.context_shape}."
            )
        if scale not in ("exp", "sigmoid2"):
            raise UsageError(f"AffineCoupling: scale must be 'exp' or 'sigmoid2', got {scale!r}.")
        if not max_log_scale > 0:
            raise UsageError(
                f"AffineCoupling: max_log_scale must be positive, got {max_log_scale}."
            )


def _conditioner(features: int, hidden: int, out_features: int, event_dims: int) -> nn.Sequential:
    """Two hidden layers: linear for vectors; 3x3, 1x1, 3x3 convolutions for pictures."""
    layers: tuple[nn.Module, nn.Module, nn.Module]
    if event_dims == 1:
        layers = (
            nn.Linear(features, hidden),
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, out_features),
        )
    else:
        layers = (
            nn.Conv2d(features, hidden, 3, padding=1),
            nn.Conv2d(hidden, hidden, 1),
            nn.Conv2d(hidden, out_features, 3, padding=1),
        )
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def _sum(log_scale: Tensor) -> Tensor:
    return log_scale.flatten(1).sum(1)
