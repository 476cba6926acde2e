"""An orthogonal map as a product of reflections."""

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.mixing import Mixing, check_features


class Householder(Mixing):
    r"""A product of K reflections of the features or of the channels: it keeps lengths and volumes.

    .. math:: z = H_1 H_2 \cdots H_K x, \qquad H_k = I - 2 \frac{v_k v_k^T}{v_k^T v_k}

    D reflections reach every orthogonal matrix of determinant (-1)^D. Its inverse is its transpose.

    Args:
        event_shape: ``(D,)``, or ``(C, H, W)`` and the like; the first axis is mixed.
        context_shape: Not used: the map has no context.
        reflections: K; D unless given.

    Shape: x, z ``(B, D, ...)``; logdet ``(B,)``, zeros.

    Raises:
        ShapeError: If the event has no axis.
        UsageError: If there is no reflection.

    Source: Tomczak and Welling, Improving variational auto-encoders using Householder flow, 2016,
        https://arxiv.org/abs/1611.09630.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        reflections: int | None = None,
    ) -> None:
        super().__init__()
        check_features("Householder", event_shape)
        if reflections is not None and reflections < 1:
            raise UsageError(f"Householder: reflections must be at least 1, got {reflections}.")
        self.event_shape = tuple(event_shape)
        features = event_shape[0]
        self.vectors = nn.Parameter(torch.randn(reflections or features, features))

    def _matrix(self, dtype: torch.dtype) -> Tensor:
        unit = nn.functional.normalize(self.vectors.to(dtype), dim=1)
        q = torch.eye(unit.shape[1], dtype=dtype, device=unit.device)
        for v in unit:
            q = q - 2 * torch.outer(q @ v, v)
        return q

    def _inverse_matrix(self, dtype: torch.dtype) -> Tensor:
        return self._matrix(dtype).mT

    def _log_abs_det(self, dtype: torch.dtype) -> Tensor:
        return torch.zeros((), dtype=dtype, device=self.vectors.device)
