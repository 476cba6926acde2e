"""Monotone splines: piecewise rational-quadratic and piecewise linear."""

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

from corekit.data_spec import Support
from corekit.errors import UsageError
from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.univariate import Univariate

Tails = Literal["linear", "circular", "none"]
Parameters = Literal["softplus", "softclip"]


class Spline(Univariate):
    r"""What splines share: bins between -bound and bound, and what lies outside.

    ========  ==============================  =================================================
    tails     bins cover                      outside
    ========  ==============================  =================================================
    linear    [-bound, bound]                 the identity
    circular  angles in [-bound, bound]       as inside, turn after turn: for angles, bound pi
    none      [0, 1], to [0, 1]               continued as a line: for data on the unit interval
    ========  ==============================  =================================================

    Args:
        bins: K, number of bins.
        bound: Where the tails begin; ignored without tails, where the bins cover [0, 1].
        tails: What lies outside.
        min_bin: Smallest share of a bin in the width and the height of all.

    Raises:
        UsageError: If an option is out of range.
    """

    def __init__(self, bins: int, bound: float, tails: Tails, min_bin: float) -> None:
        if bins < 1:
            raise UsageError(f"{type(self).__name__}: bins must be at least 1, got {bins}.")
        if not 0 <= min_bin * bins < 1:
            raise UsageError(
                f"{type(self).__name__}: min_bin times bins must be below 1, got {min_bin} x "
                f"{bins}."
            )
        if not bound > 0:
            raise UsageError(f"{type(self).__name__}: bound must be positive, got {bound}.")
        if tails not in ("linear", "circular", "none"):
            known = "linear, circular, none"
            raise UsageError(f"{type(self).__name__}: tails must be one of {known}, got {tails!r}.")
        self.bins, self.tails, self.min_bin = bins, tails, min_bin
        self.low, self.high = (0.0, 1.0) if tails == "none" else (-bound, bound)
        if tails == "none":
            self.domain = self.codomain = Support.UNIT_INTERVAL

    def _forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self._with_tails(x, params, inverse=False)

    def _inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self._with_tails(z, params, inverse=True)

    def _with_tails(self, x: Tensor, params: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        wide = logdet_dtype(x)
        # One row per parameter and one column per element: every sum over bins is a sum of rows.
        columns = params.movedim(1, 0).reshape(self.parameters, -1).to(wide)
        flat, length = x.reshape(-1).to(wide), self.high - self.low
        if self.tails == "circular":
            turns = length * torch.floor((flat - self.low) / length)
            inside = flat - turns
        else:
            inside = flat.clamp(self.low, self.high)  # before the arithmetic: no NaN is made
        share, log_slope = self._spline((inside - self.low) / length, columns, inverse=inverse)
        value = self.low + length * share
        if self.tails == "circular":
            value = value + turns
        elif self.tails == "none":
            value = value + (flat - inside) * log_slope.exp()
        else:
            outside = inside != flat
            value = torch.where(outside, flat, value)
            log_slope = log_slope.masked_fill(outside, 0)
        return value.reshape(x.shape).to(x.dtype), log_slope.reshape(x.shape)

    @abstractmethod
    def _spline(self, u: Tensor, params: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        """[0, 1] to [0, 1] with its log-slope; u ``(N,)``, params ``(P, N)``."""


class RationalQuadratic(Spline):
    r"""A monotone rational-quadratic spline: K bins, each a ratio of two parabolas.

    In a bin of width w and height h with slopes d_0, d_1 at its ends, with
    :math:`\delta = h / w`, :math:`\theta = (x - x_0) / w`, :math:`t = \theta (1 - \theta)`:

    .. math::
        z = z_0 + \frac{h\,(\delta \theta^2 + d_0 t)}{\delta + (d_0 + d_1 - 2 \delta)\, t}, \qquad
        \frac{dz}{dx} = \frac{\delta^2\, (d_1 \theta^2 + 2 \delta t + d_0 (1 - \theta)^2)}
                             {(\delta + (d_0 + d_1 - 2 \delta)\, t)^2}

    The inverse solves a quadratic equation whose discriminant is kept from below zero, so it never
    fails. Parameters are K raw widths, K raw heights, then the raw slopes of the knots: K - 1 with
    linear tails (the outer ones are 1), K on a circle (both ends are one), K + 1 without tails.
    Parameters of zero are the identity.

    ==========  =============================================  ===============================
    parameters  widths and heights                             slopes
    ==========  =============================================  ===============================
    softplus    floor + (1 - K floor) softmax(r)               floor + softplus(r + shift)
    softclip    softmax(r / (1 + \|2 r / log floor\|))           exp(r / (1 + \|r / log floor\|))
    ==========  =============================================  ===============================

    Args:
        bins: K, number of bins.
        bound: Where the tails begin.
        tails: linear, circular or none (`Spline`).
        min_bin: Smallest share of a bin in the width and the height of all (softplus).
        min_slope: Smallest slope at a knot.
        parameters: How raw numbers become widths, heights and slopes; nflows has softplus, zuko
            softclip.
        identity: Whether slopes are shifted so that zeros are the identity; nflows 0.14 does not.

    Shape: x ``(B, *event)``, params ``(B, 3 K - 1, *event)`` with linear tails.
    Source: Durkan et al., Neural Spline Flows, NeurIPS 2019, eq. 4-8,
        https://arxiv.org/abs/1906.04032; Rezende et al., Normalizing Flows on Tori and Spheres,
        ICML 2020, https://arxiv.org/abs/2002.02428 (circular).
    """

    def __init__(
        self,
        bins: int = 8,
        bound: float = 5.0,
        tails: Tails = "linear",
        min_bin: float = 1e-3,
        min_slope: float = 1e-3,
        parameters: Parameters = "softplus",
        *,
        identity: bool = True,
    ) -> None:
        super().__init__(bins, bound, tails, min_bin)
        if not 0 < min_slope < 1:
            raise UsageError(
                f"RationalQuadratic: min_slope must lie between 0 and 1, got {min_slope}."
            )
        if parameters not in ("softplus", "softclip"):
            raise UsageError(
                f"RationalQuadratic: parameters must be softplus or softclip, got {parameters!r}."
            )
        self.parameters = 2 * bins + {"linear": bins - 1, "circular": bins, "none": bins + 1}[tails]
        self.style, self.min_slope = parameters, min_slope
        self._one = math.log(math.expm1(1 - min_slope))  # softplus of it is 1 - min_slope
        self._shift = self._one if identity else 0.0

    def _spline(self, u: Tensor, params: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        raw, raw_slopes = params.split((2 * self.bins, self.parameters - 2 * self.bins))
        sizes = self._sizes(raw.unflatten(0, (2, self.bins)))
        place = bin_of(u, sizes[1 if inverse else 0])
        (left, bottom), (width, height) = at_bin(sizes, place)
        d_0, d_1 = self._slopes(raw_slopes, place)
        delta = height / width
        bend = d_0 + d_1 - 2 * delta
        if inverse:
            theta = _solve((u - bottom).clamp(min=0), height, delta, d_0, bend)
        else:
            theta = ((u - left) / width).clamp(0, 1)
        rest = 1 - theta
        t = theta * rest
        low = torch.addcmul(delta, bend, t)
        top = d_1 * theta.square() + 2 * delta * t + d_0 * rest.square()
        log_slope = torch.log(top * (delta / low).square())
        if inverse:
            return left + width * theta, -log_slope
        return bottom + height * (delta * theta.square() + d_0 * t) / low, log_slope

    def _sizes(self, raw: Tensor) -> Tensor:
        """Widths and heights ``(2, K, N)``, each of sum 1."""
        if self.style == "softclip":
            return torch.softmax(raw / (1 + (2 * raw / math.log(self.min_slope)).abs()), dim=1)
        free = 1 - self.bins * self.min_bin
        return torch.softmax(raw, dim=1) * free + self.min_bin

    def _slopes(self, raw: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """The slopes at both ends of the bin of each element: only these are computed."""
        softclip = self.style == "softclip"
        if self.tails == "linear":  # the outer knots have slope 1
            raw = pad(raw, (0, 0, 1, 1), value=0.0 if softclip else self._one - self._shift)
        elif self.tails == "circular":
            raw = torch.cat((raw, raw[:1]))
        ends = raw.gather(0, torch.stack((place, place + 1)))
        if softclip:
            d = torch.exp(ends / (1 + (ends / math.log(self.min_slope)).abs()))
        else:
            d = self.min_slope + softplus(ends + self._shift)
        return d[0], d[1]


class LinearSpline(Spline):
    r"""A piecewise linear spline of K bins of equal width: slopes are a histogram.

    .. math:: z = z_0 + h_k\, \frac{x - x_0}{w}, \qquad dz/dx = h_k / w

    Parameters are K raw heights, ``h = floor + (1 - K floor) softmax(r)``; zeros are the identity.
    Its slope jumps at the knots, which gradients through the density do not see.

    Args:
        bins: K, number of bins.
        bound: Where the tails begin.
        tails: linear, circular or none (`Spline`).
        min_bin: Smallest share of a bin in the height of all, so smallest slope times 1 / K.

    Shape: x ``(B, *event)``, params ``(B, K, *event)``.
    Source: Müller et al., Neural Importance Sampling, 2019, https://arxiv.org/abs/1808.03856.
    """

    def __init__(
        self, bins: int = 8, bound: float = 5.0, tails: Tails = "linear", min_bin: float = 1e-3
    ) -> None:
        super().__init__(bins, bound, tails, min_bin)
        self.parameters = bins

    def _spline(self, u: Tensor, params: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        free = 1 - self.bins * self.min_bin
        sizes = (torch.softmax(params, dim=0) * free + self.min_bin)[None]
        equal = (u * self.bins).long().clamp(0, self.bins - 1)
        place = bin_of(u, sizes[0]) if inverse else equal
        (bottom,), (height,) = at_bin(sizes, place)
        left, slope = place.to(u.dtype) / self.bins, height * self.bins
        if inverse:
            return left + (u - bottom) / slope, -slope.log()
        return bottom + (u - left) * slope, slope.log()


@torch.no_grad()
def bin_of(u: Tensor, sizes: Tensor) -> Tensor:
    """The bin of each element: u ``(N,)`` in [0, 1], sizes of bins ``(K, N)``."""
    knots = sizes[:-1].cumsum(0)
    return (u >= knots).sum(0)


def at_bin(sizes: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Where the bin begins and how large it is: of sizes ``(S, K, N)`` two ``(S, N)``."""
    number = torch.arange(sizes.shape[1], device=sizes.device)[:, None]
    before = (number < place).to(sizes.dtype)
    start = (sizes * before).sum(1)
    return start, sizes.gather(1, place.expand(sizes.shape[0], 1, -1))[:, 0]


def _solve(y: Tensor, height: Tensor, delta: Tensor, d_0: Tensor, bend: Tensor) -> Tensor:
    """theta of a height y above the foot of the bin: the root in [0, 1] of a quadratic."""
    rise = y * bend
    a = height * (delta - d_0) + rise
    b = height * d_0 - rise
    c = -delta * y
    root = (b.square() - 4 * a * c).clamp(min=0).sqrt()
    return (2 * c / (-b - root)).clamp(0, 1)
