"""A dense linear bijector."""

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.flows.mixing import Mixing, check_features, per_channel


class Linear(Mixing):
    r"""An invertible matrix and a shift over features or over the channels of an image.

    .. math:: z = W x + b, \qquad \log|\det \partial z / \partial x| = N \log|\det W|

    with N positions (pixels: it is a convolution of one pixel; 1 for a vector). W starts as a
    random rotation. The determinant costs O(D^3) per call, whatever the batch.

    Args:
        event_shape: ``(D,)``, or ``(C, H, W)`` and the like; the first axis is mixed.
        context_shape: Not used: the map has no context.
        bias: Whether there is a shift b.

    Shape: x, z ``(B, D, ...)``; logdet ``(B,)``, nats.
    Raises: ShapeError: if the event has no axis.

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
        check_features("Linear", event_shape)
        self.event_shape = tuple(event_shape)
        features = event_shape[0]
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(features, features)))
        self.bias = nn.Parameter(torch.zeros(per_channel(event_shape))) if bias else None

    def _matrix(self, dtype: torch.dtype) -> Tensor:
        return self.weight.to(dtype)

    def _inverse_matrix(self, dtype: torch.dtype) -> Tensor:
        # Without a check, which waits for the device: of a singular W it is not finite.
        return torch.linalg.inv_ex(self.weight.to(dtype)).inverse

    def _log_abs_det(self, dtype: torch.dtype) -> Tensor:
        return torch.linalg.slogdet(self.weight.to(dtype)).logabsdet
