r"""A latent model in which everything is known: probabilistic PCA.

.. math::
    z \sim N(0, I), \quad x \mid z \sim N(W z + b, s^2 I), \qquad
    x \sim N(b,\; W W^\top + s^2 I), \quad
    z \mid x \sim N(V W^\top (x - b) / s^2,\; V), \quad V = (I + W^\top W / s^2)^{-1}

The columns of W are orthogonal, so V is diagonal and a diagonal Gaussian encoder can be exact.

Source: Tipping and Bishop, Probabilistic Principal Component Analysis, JRSS B 1999, eq. 3-8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.flows.prior import StandardNormal
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Condition
from corekit.latent.decoders import GaussianDecoder
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import DiagonalGaussian

FEATURES, LATENT, SCALE = 5, 2, 0.7


class LinearEncoder(Encoder):
    """q(z | x) = N(A x + a, diag(exp(log_var))).

    Args:
        event_shape: ``(D,)``.
    """

    def __init__(self, event_shape: Shape) -> None:
        super().__init__()
        self.event_shape, self.latent_shape = tuple(event_shape), (LATENT,)
        self.mu = torch.nn.Linear(event_shape[0], LATENT)
        self.log_var = torch.nn.Parameter(torch.zeros(LATENT))

    def _forward(self, x: Tensor, condition: Condition | None) -> Posterior:
        mu = self.mu(x)
        return DiagonalGaussian(mu, self.log_var.expand_as(mu))


class LinearGaussian:
    """The model, its exact posterior, and its exact density.

    Args:
        exact: Whether the encoder is the posterior, or a shifted and wider one.

    Attributes:
        model: A `LatentModel` in float64.
    """

    def __init__(self, *, exact: bool = True) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = LatentModel(
                DataSpec((FEATURES,)),
                encoder=LinearEncoder,
                decoder=lambda **given: GaussianDecoder(**given, hidden=(), scale=SCALE),
                prior=StandardNormal,
            ).double()
            basis = torch.linalg.qr(torch.randn(FEATURES, LATENT, dtype=torch.float64))[0]
            b = torch.randn(FEATURES, dtype=torch.float64)
        w = basis * torch.tensor([1.5, 0.8], dtype=torch.float64)
        variance = 1 / (1 + w.square().sum(0) / SCALE**2)
        a = variance[:, None] * w.T / SCALE**2
        off, wider = (0.0, 0.0) if exact else (0.3, 0.5)
        self._set(w, b, a, off - a @ b, variance.log() + wider)
        eye = torch.eye(FEATURES, dtype=torch.float64)
        self.truth = torch.distributions.MultivariateNormal(b, w @ w.T + SCALE**2 * eye)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), nats: ``(B, D)`` -> ``(B,)``."""
        return self.truth.log_prob(x)

    def _set(self, w: Tensor, b: Tensor, a: Tensor, offset: Tensor, log_var: Tensor) -> None:
        state = {
            "encoder.mu.weight": a,
            "encoder.mu.bias": offset,
            "encoder.log_var": log_var,
            "decoder.network.0.weight": w,
            "decoder.network.0.bias": b,
            "decoder.log_scale": torch.tensor(math.log(SCALE), dtype=torch.float64),
        }
        self.model.load_state_dict(state, strict=False)
