"""A dense linear bijector."""

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.interfaces.frozen import Derived


class Linear(Derived, Bijector):
    r"""An invertible matrix and a shift on a vector of features.

    .. math:: z = W x + b, \qquad \log|\det \partial z / \partial x| = \log|\det W|

    W starts as a random rotation. The determinant costs O(D^3) per call, whatever the batch.

    Args:
        event_shape: ``(D,)``.
        context_shape: Not used: the map has no context.
        bias: Whether there is a shift b.

    Shape: x, z ``(B, D)``; logdet ``(B,)``, nats.
    Raises: ShapeError: if the event is not a vector.

    Example:
        >>> layer = Linear((2,))
        >>> x = torch.randn(5, 2)
        >>> torch.allclose(layer.inverse(layer(x)[0])[0], x, atol=1e-5)
        True
    """

    def __init__(
        self, event_shape: Shape, context_shape: Shape | None = None, *, bias: bool = True
    ) -> None:
        super().__init__()
        if len(event_shape) != 1:
            raise ShapeError(f"Linear: event_shape must be (features,), got {tuple(event_shape)}.")
        self.event_shape = tuple(event_shape)
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(*event_shape, *event_shape)))
        self.bias = nn.Parameter(torch.zeros(event_shape)) if bias else None

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return nn.functional.linear(x, self.weight, self.bias), self._log_abs_det(x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.bias is not None:
            z = z - self.bias
        factors, pivots = self._factors(logdet_dtype(z))
        x = torch.linalg.lu_solve(factors, pivots, z.to(factors.dtype).mT).mT
        return x.to(z.dtype), -self._log_abs_det(z)

    def _log_abs_det(self, x: Tensor) -> Tensor:
        factors, _ = self._factors(logdet_dtype(x))
        return factors.diagonal().abs().log().sum().expand(x.shape[0])

    def _factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """W = P L U, in one matrix, and the pivots. Never in half precision."""

        def factorise() -> tuple[Tensor, Tensor]:
            # Without a check, which waits for the device: a singular W has logdet -inf.
            factors, pivots, _ = torch.linalg.lu_factor_ex(self.weight.to(dtype))
            return factors, pivots

        return self.derived(f"factors in {dtype}", factorise, self.weight)
