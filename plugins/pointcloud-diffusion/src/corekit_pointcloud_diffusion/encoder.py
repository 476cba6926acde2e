"""The PointNet encoder."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Condition
from corekit.latent.posteriors import DiagonalGaussian, Point
from corekit_pointcloud_diffusion.pooling import max_of_norm


class PointNetEncoder(Encoder):
    r"""A feature per point, their maximum, and two perceptrons for mean and log-variance.

    .. math::
        h = \max_i \phi(x_i), \qquad q(z \mid x) = N(\mu(h), \operatorname{diag} e^{\ell(h)})

    The order of the points does not matter, and there may be any number of them. phi ends without
    an activation. Batch normalisation couples the rows of a training batch.

    Args:
        event_shape: ``(points, dimensions)``.
        latent_dim: Size of the latent.
        posterior: "gaussian", or "point" for an auto-encoder (no log-variance head is built).
        widths: Widths of the layers of phi.
        head: Widths of the hidden layers of each head.

    Shape: x ``(B, N, dimensions)``, any N; z ``(B, latent_dim)``.

    Raises:
        ShapeError: If the event is not a cloud, or a training batch has one row (its batch
            normalisation would divide by zero).

    Source:
        Luo and Hu, Diffusion Probabilistic Models for 3D Point Cloud Generation, CVPR 2021,
        https://arxiv.org/abs/2103.01458. Follows diffusion-point-cloud, models/encoders.
    """

    free_axes = (0,)

    def __init__(
        self,
        event_shape: Shape,
        *,
        latent_dim: int = 256,
        posterior: Literal["gaussian", "point"] = "gaussian",
        widths: Sequence[int] = (128, 128, 256, 512),
        head: Sequence[int] = (256, 128),
    ) -> None:
        super().__init__()
        if len(event_shape) != 2:
            raise ShapeError(
                f"PointNetEncoder: the event must be (points, dimensions), got {event_shape}."
            )
        if posterior not in ("gaussian", "point"):
            raise UsageError(
                f"PointNetEncoder: posterior must be 'gaussian' or 'point', got {posterior!r}."
            )
        self.event_shape = tuple(event_shape)
        self.latent_shape = (latent_dim,)
        self.kind = Likelihood.EXACT if posterior == "gaussian" else Likelihood.NONE
        self.points = _layers((event_shape[1], *widths))[:-1]  # no activation before the maximum
        self.mu = nn.Sequential(*_layers((widths[-1], *head)), nn.Linear(head[-1], latent_dim))
        self.log_var = (
            nn.Sequential(*_layers((widths[-1], *head)), nn.Linear(head[-1], latent_dim))
            if posterior == "gaussian"
            else None
        )

    def _forward(self, x: Tensor, condition: Condition | None) -> Posterior:
        if self.training and x.shape[0] == 1:
            raise ShapeError(
                "PointNetEncoder: a training batch must have at least 2 rows for its batch "
                "normalisation, got 1. Use a larger batch_size, or eval mode."
            )
        pooled = self._pooled(x)  # (B, widths[-1])
        mu = self.mu(pooled)
        return Point(mu) if self.log_var is None else DiagonalGaussian(mu, self.log_var(pooled))

    def _pooled(self, x: Tensor) -> Tensor:
        """The maximum over the points of each cloud of their features."""
        points: Any = self.points
        *layers, linear, norm = points
        h = x.reshape(-1, x.shape[-1])  # (B * N, dimensions)
        for layer in layers:
            h = layer(h)
        if self.training and h.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            return max_of_norm(h.reshape(*x.shape[:2], linear.in_features), linear, norm)
        return norm(linear(h)).reshape(*x.shape[:2], linear.out_features).max(1).values


def _layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear, batch norm, ReLU for each pair of widths."""
    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
