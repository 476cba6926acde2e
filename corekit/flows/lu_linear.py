"""A linear bijector by its triangular factors."""

from typing import Literal

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.flows.mixing import Mixing, check_features, per_channel

Start = Literal["rotation", "identity"]


class LuLinear(Mixing):
    r"""An invertible matrix P L U and a shift, over features or over the channels of an image.

    .. math:: z = P L U x + b, \qquad U_{ii} = s_i e^{d_i}, \qquad
        \log|\det \partial z / \partial x| = N \sum_i d_i

    with N positions (pixels: it is a convolution of one pixel; 1 for a vector). L is lower
    triangular with a diagonal of ones. P and the signs s are fixed; the entries of L below the
    diagonal, those of U above it, and d are the parameters, and no others. The log-determinant
    costs nothing, and the inverse is two triangular solves and a product.

    Args:
        event_shape: ``(D,)``, or ``(C, H, W)`` and the like; the first axis is mixed.
        context_shape: Not used: the map has no context.
        bias: Whether there is a shift b.
        start: A random rotation, or the identity.

    Shape: x, z ``(B, D, ...)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event has no axis.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, eq. 10, https://arxiv.org/abs/1807.03039.

    Example:
        >>> layer = LuLinear((2,), start="identity")
        >>> layer.set_matrix(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
        >>> layer(torch.tensor([[3.0, 4.0]]))
        (tensor([[8., 3.]], grad_fn=...), tensor([0.6931], grad_fn=...))
    """

    permutation: Tensor
    sign: Tensor
    below: Tensor
    above: Tensor

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        bias: bool = True,
        start: Start = "rotation",
    ) -> None:
        super().__init__()
        check_features("LuLinear", event_shape)
        if start not in ("rotation", "identity"):
            raise UsageError(f"LuLinear: start must be rotation or identity, got {start!r}.")
        self.event_shape = tuple(event_shape)
        features = self.features = event_shape[0]
        entries = features * (features - 1) // 2
        self.lower, self.upper = (nn.Parameter(torch.zeros(entries)) for _ in range(2))
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(per_channel(event_shape))) if bias else None
        self.register_buffer("permutation", torch.arange(features))  # row i of LU is row p_i of W
        self.register_buffer("sign", torch.ones(features))
        for name, index in (("below", torch.tril_indices), ("above", torch.triu_indices)):
            offset = -1 if name == "below" else 1
            rows, cols = index(features, features, offset)
            self.register_buffer(name, rows * features + cols, persistent=False)
        if start == "rotation" and not self.lower.is_meta:
            self.set_matrix(nn.init.orthogonal_(torch.empty(features, features)))

    @torch.no_grad()
    def set_matrix(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Become the map z = W x + b of a given matrix, dense or a product of other factors.

        Args:
            weight: W, ``(D, D)``, invertible.
            bias: b, ``(D,)``; left as it is unless given.

        Raises:
            ShapeError: If W has another shape.
            UsageError: If W is singular, or there is no b to set.
        """
        if tuple(weight.shape) != (self.features, self.features):
            raise ShapeError(
                f"LuLinear: the matrix must have shape {(self.features, self.features)}, got "
                f"{tuple(weight.shape)}."
            )
        p, lower, upper = torch.linalg.lu(weight.double())
        diagonal = upper.diagonal()
        if not bool((diagonal.abs() > 0).all() & diagonal.isfinite().all()):
            raise UsageError("LuLinear: the matrix must be invertible, got a singular one.")
        self.permutation.copy_(p.argmax(0))
        self.sign.copy_(diagonal.sign())
        self.log_diagonal.copy_(diagonal.abs().log())
        self.lower.copy_(lower.flatten()[self.below])
        self.upper.copy_(upper.flatten()[self.above])
        if bias is not None:
            if self.bias is None:
                raise UsageError("LuLinear: a bias can be set only of a layer that has one.")
            self.bias.copy_(bias.reshape(self.bias.shape))

    def _matrix(self, dtype: torch.dtype) -> Tensor:
        lower, upper = self._factors(dtype)
        # Row p_i of W is row i of L U.
        return torch.empty_like(lower).index_copy(0, self.permutation, lower @ upper)

    def _inverse_matrix(self, dtype: torch.dtype) -> Tensor:
        """Two triangular solves of D columns, where the batch has more."""
        lower, upper = self._factors(dtype)
        one = torch.eye(self.features, dtype=dtype, device=lower.device)
        half = torch.linalg.solve_triangular(
            lower, one[self.permutation], upper=False, unitriangular=True
        )
        return torch.linalg.solve_triangular(upper, half, upper=True)

    def _log_abs_det(self, dtype: torch.dtype) -> Tensor:
        return self.log_diagonal.to(dtype).sum()

    def _factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """L and U."""
        size, flat = self.features, self.lower.new_zeros(self.features**2, dtype=dtype)
        lower = flat.index_copy(0, self.below, self.lower.to(dtype)).reshape(size, size)
        upper = flat.index_copy(0, self.above, self.upper.to(dtype)).reshape(size, size)
        diagonal = self.sign.to(dtype) * self.log_diagonal.to(dtype).exp()
        one = torch.eye(size, dtype=dtype, device=flat.device)
        return lower + one, upper + diagonal.diag()
