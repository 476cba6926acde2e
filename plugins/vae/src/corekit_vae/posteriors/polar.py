"""The angle between a direction and a mean on the sphere, as von Mises and Fisher have it."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PANELS, NODES, WIDTHS = 32, 8, 20.0
"""Quadrature: so many panels of so many nodes, over so many standard deviations each way."""
STEPS = 10
"""Of Newton's method inside one panel."""
TINY = 1e-300


class PolarAngle:
    r"""The angle of a von Mises-Fisher vector to its mean, in m dimensions.

    .. math:: h(\theta) = e^{-\kappa (1 - \cos\theta)} \sin^{m-2}\theta\, / Z, \qquad
        Z = \int_0^\pi e^{-\kappa (1 - \cos\theta)} \sin^{m-2}\theta\, d\theta

    Z is Poisson's integral of the Bessel function :math:`I_{m/2-1}(\kappa)`. Gauss-Legendre nodes
    around the peak give it, its gradient, the mean cosine and the distribution function to about
    1e-12, in any dimension and at any concentration, where the series of the Bessel function
    underflow. A draw is the distribution function inverted: one uniform number, no rejection, and
    a fixed number of operations. All of it is computed in float64.

    Args:
        kappa: Concentration, ``(B,)``, at least 0.
        dimension: m, at least 2.

    Source: DLMF 10.32.2, https://dlmf.nist.gov/10.32; the gradient of a draw: Figurnov et al.,
        Implicit Reparameterization Gradients, NeurIPS 2018, eq. 5,
        https://arxiv.org/abs/1805.08498.
    """

    def __init__(self, kappa: Tensor, dimension: int) -> None:
        self.kappa, self.power = kappa.double(), dimension - 2
        with torch.no_grad():
            edges = self._edges(self.kappa)
        self.left, self.width = edges[:, :-1], edges.diff(dim=1)  # (B, PANELS)
        log_each, spread = self._integrand(self.left, self.width)  # (B, PANELS, NODES)
        self.log_z = torch.logsumexp(log_each.flatten(1), 1)
        share = (log_each - self.log_z[:, None, None]).exp()
        self.spread = (share * spread).flatten(1).sum(1)
        self._mass = share.detach().sum(2)
        centred = self.spread.detach()[:, None, None] - spread
        self._moment = (share.detach() * centred).sum(2)

    def draw(self, u: Tensor) -> Tensor:
        r"""Where the distribution function is u, with a gradient to kappa; all rows draw by draw.

        .. math:: \frac{d\theta}{d\kappa} = \frac{-1}{h(\theta)}
            \int_0^\theta \big(E[1 - \cos] - (1 - \cos\varphi)\big)\, h\, d\varphi

        Shape: u and the angles ``(k * B,)``.
        """
        rows = torch.arange(len(self.kappa), device=u.device)
        rows = rows.repeat(len(u) // max(len(rows), 1))
        kappa = self.kappa[rows]
        with torch.no_grad():
            law = _Law(kappa, self.power, self.log_z[rows], self.spread[rows])
            before = self._mass.cumsum(1)[rows]
            panel = (before <= u[:, None]).sum(1, keepdim=True).clamp(max=PANELS - 1)
            low, width, mass = (
                part[rows].gather(1, panel)[:, 0] for part in (self.left, self.width, self._mass)
            )
            missing = u - before.gather(1, panel)[:, 0] + mass
            share = (missing / mass.clamp(min=TINY)).clamp(0, 1)
            # In the panel that begins at 0 the distribution function starts as a power.
            theta = low + width * torch.where(low > 0, share, share ** (1 / (self.power + 1)))
            for _ in range(STEPS):
                step = (law.between(low, theta)[0] - missing) / law.density(theta)
                theta = torch.minimum(torch.maximum(theta - step, low), low + width)
            theta = theta.clamp(min=TINY)
            # The integral up to theta, or minus that behind it: the side where no digits cancel.
            zero = torch.zeros_like(self._moment[:, :1])
            left = torch.cat([zero, self._moment.cumsum(1)], 1)[rows].gather(1, panel)[:, 0]
            right = torch.cat([self._moment.flip(1).cumsum(1).flip(1), zero], 1)[rows]
            from_left = left + law.between(low, theta)[1]
            from_right = right.gather(1, panel + 1)[:, 0] + law.between(theta, low + width)[1]
            near = 2 * (theta / 2).sin().square() < law.spread
            slope = torch.where(near, -from_left, from_right) / law.density(theta)
        return theta + slope * (kappa - kappa.detach())

    def _edges(self, kappa: Tensor) -> Tensor:
        """Of the panels, ``(B, PANELS + 1)``: around the peak, within [0, pi]."""
        root = (self.power**2 + 4 * kappa.square()).sqrt()
        total = (self.power + root).clamp(min=TINY)
        cosine, sine = 2 * kappa / total, (2 * self.power / total).sqrt()
        peak = torch.atan2(sine, cosine)
        curvature = kappa * cosine + total / 2  # of log h at its peak
        far = WIDTHS * curvature.rsqrt()
        low, high = (peak - far).clamp(min=0), (peak + far).clamp(max=math.pi)
        steps = torch.linspace(0, 1, PANELS + 1, dtype=kappa.dtype, device=kappa.device)
        return low[:, None] + (high - low)[:, None] * steps

    def _integrand(self, left: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """log of h Z times the weight of each node, and 1 - cos there, ``(B, P, NODES)``."""
        nodes, log_weights = _rule(left.device)
        phi = left[:, :, None] + width[:, :, None] * nodes
        log_h, spread = _log_h(phi, self.kappa[:, None, None], self.power)
        return log_h + log_weights + width[:, :, None].log(), spread


class _Law(NamedTuple):
    """h, row by row."""

    kappa: Tensor
    power: int
    log_z: Tensor
    spread: Tensor

    def density(self, theta: Tensor) -> Tensor:
        """h(theta)."""
        return (_log_h(theta, self.kappa, self.power)[0] - self.log_z).exp().clamp(min=TINY)

    def between(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Mass between two angles of one panel, and that weighted by E[1 - cos] - (1 - cos)."""
        nodes, log_weights = _rule(low.device)
        width = (high - low)[:, None]
        phi = low[:, None] + width * nodes
        log_h, spread = _log_h(phi, self.kappa[:, None], self.power)
        share = (log_h + log_weights - self.log_z[:, None]).exp() * width
        return share.sum(1), (share * (self.spread[:, None] - spread)).sum(1)


def _log_h(phi: Tensor, kappa: Tensor, power: int) -> tuple[Tensor, Tensor]:
    """log of h Z, and 1 - cos."""
    spread = 2 * (phi / 2).sin().square()
    return torch.xlogy(float(power), phi.sin()) - kappa * spread, spread


def log_area(dimension: int) -> float:
    """log of the area of the unit sphere in so many dimensions."""
    half = dimension / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


@cache
def _numbers() -> tuple[list[float], list[float]]:
    """Nodes and log-weights of Gauss and Legendre on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return ((nodes + 1) / 2).tolist(), np.log(weights / 2).tolist()


def _rule(device: torch.device) -> tuple[Tensor, Tensor]:
    nodes, log_weights = _numbers()
    return (
        torch.tensor(nodes, dtype=torch.float64, device=device),
        torch.tensor(log_weights, dtype=torch.float64, device=device),
    )
