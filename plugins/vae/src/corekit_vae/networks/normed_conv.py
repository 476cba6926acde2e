"""A convolution, its batch norm and its activation, which are one convolution once frozen."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from corekit.errors import ShapeError
from corekit.interfaces.frozen import Derived
from corekit.nn.activation import make_activation

_FROM_OUTPUT = ("relu", "leaky_relu", "elu")
"""Activations whose gradient follows from what they give: they may write over what they are given,
which neither a convolution nor a batch norm needs again."""


class NormedConv(Derived):
    r"""act(norm(conv(x))).

    A batch norm in eval mode is affine in each channel, so both are one convolution:

    .. math:: W' = \frac{\gamma}{\sqrt{v + \epsilon}} W, \qquad
        b' = \frac{\gamma}{\sqrt{v + \epsilon}} (b - m) + \beta

    with running mean m and variance v. Within ``frozen()``, in eval mode and without gradients it
    computes that one, with weights that lie channels last: everything behind it then does, too.

    Args:
        conv: The convolution; it may be transposed.
        batch_norm: Whether there is a norm.
        activation: Its name (`corekit.nn.activation`); None for none.

    Shape: images ``(B, C, H, W)``, as the convolution has it.

    Raises:
        ShapeError: If a training batch has one number of each channel: its variance is none.
    """

    def __init__(
        self,
        conv: nn.Conv2d | nn.ConvTranspose2d,
        *,
        batch_norm: bool = True,
        activation: str | None = "leaky_relu",
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels) if batch_norm else None
        self.activation = nn.Identity() if activation is None else _in_place(activation)

    def forward(self, x: Tensor) -> Tensor:
        """The image behind it."""
        if self.norm is None:
            return self.activation(self.conv(x))
        if self._kept is None or self.training or torch.is_grad_enabled():
            h = self.conv(x)
            if self.training and h.numel() == h.shape[1]:
                raise ShapeError(
                    "NormedConv: a training batch must have at least 2 numbers of each channel for "
                    f"its batch norm, got images {tuple(h.shape)}. Use a larger batch_size, fewer "
                    "widths, or batch_norm: false."
                )
            return self.activation(self.norm(h))
        norm, of = self.norm, (self.conv.weight, self.conv.bias, self.norm.weight, self.norm.bias)
        seen = (*of, norm.running_mean, norm.running_var)
        weight, bias = self.derived("folded", self._folded, *(t for t in seen if t is not None))
        return self.activation(self._convolved(x, weight, bias))

    def _folded(self) -> tuple[Tensor, Tensor]:
        """W' and b'."""
        conv, norm = self.conv, self.norm
        if norm is None or norm.running_mean is None or norm.running_var is None:
            raise TypeError("a batch norm has running statistics")
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        outputs = 1 if isinstance(conv, nn.ConvTranspose2d) else 0  # axis of the weight
        shape = [1] * conv.weight.ndim
        shape[outputs] = -1
        weight = (conv.weight * scale.reshape(shape)).contiguous(memory_format=torch.channels_last)
        bias = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
        return weight, scale * bias + norm.bias

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        conv = self.conv
        if isinstance(conv, nn.ConvTranspose2d):
            border: Any = conv.padding
            return F.conv_transpose2d(x, weight, bias, conv.stride, border, conv.output_padding)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding)


def _in_place(name: str) -> nn.Module:
    module = make_activation(name)
    if name in _FROM_OUTPUT:
        setattr(module, "inplace", True)  # noqa: B010  # not known of every module
    return module
