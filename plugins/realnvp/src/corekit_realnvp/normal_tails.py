"""The normal quantile of a probability whose logarithm is known."""

import math

import torch
from torch import Tensor

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_STEPS = 6


def log_ndtr_inverse(log_p: Tensor) -> Tensor:
    r"""z with log Phi(z) = log p, for p up to about 1/2 and down to any exp(-x), exactly.

    A start from the tail's expansion :math:`z^2 \approx -2 \log p - \log(2\pi z^2)`, or where p is
    not small from the quantile itself, is improved by Newton steps on log Phi, which is concave;
    the last one carries the gradient.

    Args:
        log_p: Logarithms of probabilities, at most 0.
    """
    fixed = log_p.detach()
    square = (-2 * fixed).clamp(min=4.0)
    far = -(square - torch.log(2 * math.pi * square)).clamp(min=1e-3).sqrt()
    near = torch.special.ndtri(fixed.clamp(min=-14.0).exp())
    z = torch.where(fixed < -14.0, far, near.clamp(max=8.0))
    for _ in range(_STEPS):
        z = _newton(z, fixed)
    return _newton(z, log_p)


def _newton(z: Tensor, log_p: Tensor) -> Tensor:
    with torch.no_grad():
        log_phi = torch.special.log_ndtr(z)
        inverse_slope = torch.exp(log_phi + 0.5 * z.square() + LOG_SQRT_2PI)
    return z - (log_phi - log_p) * inverse_slope
