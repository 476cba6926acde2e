"""Invertible 1x1 convolutions: a matrix over channels, in several parametrisations."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.householder import Householder
from corekit.flows.linear import Linear
from corekit.flows.lu_linear import LuLinear
from corekit.flows.mixing import Mixing, check_features

Form = Literal["plain", "lu", "qr", "orthogonal"]


class QrLinear(Mixing):
    r"""A matrix W = Q R: reflections, then a triangle with any signs on its diagonal.

    .. math:: Q = H_1 \cdots H_D, \qquad R_{ii} = s_i e^{d_i}, \qquad
        \log|\det W| = \sum_i d_i

    The signs s are fixed, all 1: reflections reach every other choice. It starts as a rotation.

    Args:
        event_shape: ``(D,)``, or ``(C, H, W)`` and the like; the first axis is mixed.
        context_shape: Not used: the map has no context.

    Shape: x, z ``(B, D, ...)``; logdet ``(B,)``, nats.

    Source: Hoogeboom et al., Emerging Convolutions, ICML 2019, section 3.3,
        https://arxiv.org/abs/1901.11137.
    """

    above: Tensor

    def __init__(self, event_shape: Shape, context_shape: Shape | None = None) -> None:
        super().__init__()
        check_features("QrLinear", event_shape)
        self.event_shape = tuple(event_shape)
        features = self.features = event_shape[0]
        self.rotation = Householder(event_shape)
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.upper = nn.Parameter(torch.zeros(features * (features - 1) // 2))
        rows, cols = torch.triu_indices(features, features, 1)
        self.register_buffer("above", rows * features + cols, persistent=False)

    def _matrix(self, dtype: torch.dtype) -> Tensor:
        return self.rotation.matrix(dtype) @ self._triangle(dtype)

    def _inverse_matrix(self, dtype: torch.dtype) -> Tensor:
        transposed = self.rotation.matrix(dtype).mT
        return torch.linalg.solve_triangular(self._triangle(dtype), transposed, upper=True)

    def _log_abs_det(self, dtype: torch.dtype) -> Tensor:
        return self.log_diagonal.to(dtype).sum()

    def _triangle(self, dtype: torch.dtype) -> Tensor:
        flat = self.upper.new_zeros(self.features**2, dtype=dtype)
        upper = flat.index_copy(0, self.above, self.upper.to(dtype))
        diagonal = self.log_diagonal.to(dtype).exp()
        return upper.reshape(self.features, self.features) + diagonal.diag()


_FORMS: dict[str, Callable[..., Mixing]] = {
    "plain": partial(Linear, bias=False),
    "lu": partial(LuLinear, bias=False),
    "qr": QrLinear,
    "orthogonal": Householder,
}


def invertible_conv(
    event_shape: Shape, context_shape: Shape | None = None, *, form: Form = "lu"
) -> Mixing:
    r"""A 1x1 convolution z = W x over the channels, the same at each of N pixels.

    ==========  ==================================  ===============  ========================
    form        W                                   log|det W|       it can become
    ==========  ==================================  ===============  ========================
    lu          P L U, P and signs fixed            sum of D terms   singular only in a limit
    plain       all entries free                    O(D^3)           singular
    qr          reflections times a triangle        sum of D terms   singular only in a limit
    orthogonal  reflections                         0                nothing but a rotation
    ==========  ==================================  ===============  ========================

    Each starts as a random rotation. The inverse is solved in float64, and once inside
    ``with frozen(model):``.

    Args:
        event_shape: ``(C, H, W)``, or ``(D,)`` and the like; the first axis is mixed.
        context_shape: Not used: the map has no context.
        form: How W is parametrised.

    Shape: x, z ``(B, C, ...)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event has no axis.
        UsageError: If there is no such form.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, section 3.2, https://arxiv.org/abs/1807.03039.
    """
    if form not in _FORMS:
        raise UsageError(f"invertible_conv: form must be one of {', '.join(_FORMS)}, got {form!r}.")
    return _FORMS[form](event_shape=event_shape, context_shape=context_shape)
