r"""Exact diffusion of Gaussian data: what a perfect network and a perfect sampler would do.

For data :math:`x_0 \sim N(m, C)` and any process :math:`x_t = \alpha x_0 + \sigma \varepsilon`,
variance-preserving or not,

.. math::
    x_t &\sim N(\alpha m,\; S_t), \qquad S_t = \alpha^2 C + \sigma^2 I \\
    E[x_0 \mid x_t] &= m + \alpha C S_t^{-1} (x_t - \alpha m) \\
    x_s &= \alpha_s m + S_s^{1/2} S_t^{-1/2} (x_t - \alpha_t m)

the last being the solution of the probability-flow ODE. So a sampler's claims (order, variance)
are tested with numbers, without training and without Monte Carlo.

Source: Song et al., Score-Based Generative Modeling through SDEs, ICLR 2021, eq. 13,
    https://arxiv.org/abs/2011.13456, solved for Gaussian data.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.diffusion.process import target_of
from corekit.errors import ShapeError
from corekit.interfaces.denoiser import Denoiser, Predicts
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import Condition, NoiseLevel, Prediction


class Trigonometric(NoiseSchedule):
    r"""The simplest continuous variance-preserving schedule, smooth at both ends.

    .. math:: \alpha = \cos \tfrac{\pi}{2} \tau, \qquad \sigma = \sin \tfrac{\pi}{2} \tau

    Source: Albergo and Vanden-Eijnden, Building Normalizing Flows with Stochastic Interpolants,
        ICLR 2023, eq. 5, https://arxiv.org/abs/2209.15571.
    """

    def at(self, time: Tensor) -> NoiseLevel:
        """The level at any times in [0, 1]."""
        angle = time * (math.pi / 2)
        alpha, sigma = angle.cos(), angle.sin()
        slope = math.pi / 2
        log_snr = 2 * (alpha.log() - sigma.log())
        return NoiseLevel(time, alpha, sigma, -slope * sigma, slope * alpha, log_snr)

    def time_of(self, log_snr: Tensor) -> Tensor:
        """The time of a log-SNR: its angle is atan(sigma / alpha)."""
        return torch.atan(torch.exp(-log_snr / 2)) * (2 / math.pi)


class GaussianOracle:
    """Everything exact about diffusion of N(mean, covariance).

    Args:
        mean: Of the data, ``(*event_shape)``.
        covariance: A variance per coordinate ``(*event_shape)``, or a matrix ``(D, D)`` over the
            flattened event.

    Shape: x_0, x_t ``(B, *event_shape)``; levels ``(B,)``, or ``(1,)`` for all rows.

    Example:
        >>> from corekit.diffusion.schedules import Rectified
        >>> oracle = GaussianOracle(torch.tensor([1.0]), torch.tensor([4.0]))
        >>> oracle.predict(torch.tensor([[0.5]]), Rectified().at(torch.tensor([0.5]))).x_0
        tensor([[1.]])
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.event_shape = tuple(mean.shape)
        self.mean = mean.flatten()
        size = len(self.mean)
        if covariance.shape == mean.shape:
            self.variances, self.axes = covariance.flatten(), torch.eye(size, dtype=mean.dtype)
        elif covariance.shape == (size, size):
            self.variances, self.axes = torch.linalg.eigh(covariance)
        else:
            raise ShapeError(
                f"GaussianOracle: covariance must have shape {self.event_shape} or {(size, size)}, "
                f"got {tuple(covariance.shape)}."
            )

    def predict(self, x_t: Tensor, level: NoiseLevel) -> Prediction:
        """E[x_0 | x_t] and E[eps | x_t]: the best a network can do. A `Predict` for samplers."""
        alpha, sigma, principal = self._principal(x_t, level)
        spread = self._spread(level)
        x_0 = self.mean + (alpha * self.variances / spread * principal) @ self.axes.T
        eps = (sigma / spread * principal) @ self.axes.T
        return Prediction(x_0.reshape(x_t.shape), eps.reshape(x_t.shape))

    def marginal(self, level: NoiseLevel) -> tuple[Tensor, Tensor]:
        """Mean ``(D,)`` and covariance ``(D, D)`` of x_t at one level ``(1,)``, event flattened."""
        covariance = self.axes @ torch.diag(self._spread(level)[0]) @ self.axes.T
        return level.alpha * self.mean, covariance

    def flow(self, x_t: Tensor, t: NoiseLevel, s: NoiseLevel) -> Tensor:
        """Where the probability-flow ODE carries x_t, from level t to level s."""
        principal = self._principal(x_t, t)[2]
        scale = (self._spread(s) / self._spread(t)).sqrt()
        x_s = s.alpha[:, None] * self.mean + (scale * principal) @ self.axes.T
        return x_s.reshape(x_t.shape)

    def _principal(self, x_t: Tensor, level: NoiseLevel) -> tuple[Tensor, Tensor, Tensor]:
        """The scales ``(B, 1)``, and x_t - alpha m in the axes of the covariance."""
        alpha, sigma = level.alpha[:, None], level.sigma[:, None]
        return alpha, sigma, (x_t.flatten(1) - alpha * self.mean) @ self.axes

    def _spread(self, level: NoiseLevel) -> Tensor:
        """Eigenvalues of S_t, ``(B, D)``."""
        return (level.alpha**2)[:, None] * self.variances + (level.sigma**2)[:, None]


class OracleDenoiser(Denoiser):
    """The oracle as a network, for tests of what is built around one.

    Args:
        oracle: What it knows.
        predicts: What its output is.
        condition_shapes: Conditions that it asks for, and ignores.
    """

    def __init__(
        self,
        oracle: GaussianOracle,
        predicts: Predicts = "eps",
        condition_shapes: Mapping[str, Shape] | None = None,
    ) -> None:
        super().__init__()
        self.oracle, self.predicts = oracle, predicts
        self.event_shape = oracle.event_shape
        self.condition_shapes = dict(condition_shapes or {})
        self.register_buffer("mean", oracle.mean)  # so that it has a dtype and a device

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        prediction = self.oracle.predict(x_t, level)
        return target_of(self.predicts, prediction.x_0, prediction.eps, level)
