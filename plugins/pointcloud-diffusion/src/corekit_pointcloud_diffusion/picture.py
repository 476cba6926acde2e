"""An encoder of pictures."""

from collections.abc import Sequence
from itertools import pairwise
from math import gcd
from typing import Literal

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Condition
from corekit.latent.posteriors import DiagonalGaussian, Point

GRID = 4
"""Places along a side of which the features are kept: where something is matters."""


class PictureEncoder(Encoder):
    """Convolutions that halve the picture, means over a grid of 4 x 4, and a perceptron.

    Convolutions of width 3, each with a norm over groups of channels and a SiLU. Rows do not
    influence each other.

    Args:
        event_shape: ``(C, H, W)``, any.
        latent_dim: Size of the latent.
        posterior: "point", for an embedding, or "gaussian".
        channels: Of each convolution.
        hidden: Width of the perceptron's hidden layer.

    Shape: x ``(B, C, H, W)``; z ``(B, latent_dim)``.

    Raises:
        ShapeError: If the event is no picture.
        UsageError: If the posterior is another.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        latent_dim: int = 64,
        posterior: Literal["gaussian", "point"] = "point",
        channels: Sequence[int] = (32, 64, 128, 128),
        hidden: int = 256,
    ) -> None:
        super().__init__()
        if len(event_shape) != 3:
            raise ShapeError(f"PictureEncoder: the event must be (C, H, W), got {event_shape}.")
        if posterior not in ("gaussian", "point"):
            raise UsageError(
                f"PictureEncoder: posterior must be 'gaussian' or 'point', got {posterior!r}."
            )
        self.event_shape, self.latent_shape = tuple(event_shape), (latent_dim,)
        self.posterior = posterior
        self.kind = Likelihood.NONE if posterior == "point" else Likelihood.EXACT
        layers: list[nn.Module] = []
        for i, o in pairwise((event_shape[0], *channels)):
            norm = nn.GroupNorm(gcd(8, o), o)
            layers += [nn.Conv2d(i, o, 3, stride=2, padding=1), norm, nn.SiLU()]
        width = channels[-1] if channels else event_shape[0]
        out = latent_dim * (2 if posterior == "gaussian" else 1)
        self.layers = nn.Sequential(
            *layers,
            nn.AdaptiveAvgPool2d(GRID),
            nn.Flatten(),
            nn.Linear(width * GRID**2, hidden),
            nn.SiLU(),
            nn.Linear(hidden, out),
        )

    def _forward(self, x: Tensor, condition: Condition | None) -> Posterior:
        found = self.layers(x)
        if self.posterior == "point":
            return Point(found)
        mu, log_var = found.chunk(2, dim=1)
        return DiagonalGaussian(mu, log_var)
