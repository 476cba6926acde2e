"""A monotone network of one number."""

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.flows.affine import bounded
from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.univariate import Univariate

_FLOOR = 1e-3  # of the slope, as a share of that in the tails
_MAX_LOG_SCALE = 3.0


class Monotone(Univariate):
    r"""L layers, each a perceptron of one number with H hidden units that increases.

    .. math:: y = e^{s} \Big(x + \sum_j \tfrac{\beta_j}{u_j} \tanh\big(u_j (x - c_j)\big)\Big) + t,
        \qquad \frac{dy}{dx} = e^{s} \Big(1 + \sum_j \beta_j\, \mathrm{sech}^2(\cdot)\Big)

    Every unit adds a bump to the slope, of any height; those that lower it share what is there, so
    that 0.001 of it is left:

    .. math:: \beta_j = r_j \;\; (r_j \ge 0), \qquad
        \beta_j = \frac{0.999\, r_j}{1 + \sum_k \max(-r_k, 0)} \;\; (r_j < 0)

    Parameters of zero are the identity: the bumps are flat, and stand side by side on [-3, 3].
    Both tails are straight lines of slope e^s, s between -3 and 3. The inverse is found
    numerically, with implicit gradients.

    Of neural autoregressive flows, whose layers are mixture distribution functions, `MixtureCdf`
    with ``latent="logit"`` is one.

    Args:
        hidden: H.
        layers: L.

    Shape: x ``(B, *event)``, params ``(B, L (3 H + 2), *event)``: of each layer the raw s and t,
    H raw heights r, H raw log-steepnesses, H shifts of the centres.

    Raises:
        UsageError: If an option is out of range.

    Source: in the manner of Huang et al., Neural Autoregressive Flows, ICML 2018,
        https://arxiv.org/abs/1804.00779; the form of a layer is ours.
    """

    iterative = frozenset({"inverse"})

    def __init__(self, hidden: int = 8, layers: int = 1) -> None:
        if hidden < 1 or layers < 1:
            raise UsageError(
                f"Monotone: hidden and layers must be at least 1, got {hidden} and {layers}."
            )
        self.hidden, self.layers = hidden, layers
        self.parameters = layers * (3 * hidden + 2)

    def _forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        y = x.to(logdet_dtype(x))
        total = torch.zeros_like(y)
        for log_scale, shift, height, steepness, centre in self._split(params.to(y.dtype)):
            t = torch.tanh(steepness * (y[:, None] - centre))
            slope = 1 + (height * (1 - t.square())).sum(1)
            y = log_scale.exp() * (y + (height / steepness * t).sum(1)) + shift
            total = total + log_scale + slope.log()
        return y.to(x.dtype), total

    def _bracket(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        low = high = z.to(logdet_dtype(z))
        for log_scale, shift, height, steepness, _ in reversed(self._split(params.to(low.dtype))):
            reach = (height / steepness).abs().sum(1)
            low = (low - shift) * (-log_scale).exp() - reach
            high = (high - shift) * (-log_scale).exp() + reach
        return low, high

    def _split(self, params: Tensor) -> list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Of each layer log-scale and shift ``(B, *event)``, then ``(B, H, *event)``."""
        h, split = self.hidden, []
        # Made on the device: copying a list there would wait for it at each step.
        unit = torch.arange(h, device=params.device, dtype=params.dtype)
        offsets = (6 * (unit + 0.5) / h - 3).reshape(-1, *(1,) * (params.ndim - 2))
        for raw in params.split(3 * h + 2, dim=1):
            numbers, height, log_steepness, centre = raw.split((2, h, h, h), dim=1)
            log_scale = bounded(numbers[:, 0], _MAX_LOG_SCALE)
            lowered = (-height).clamp(min=0).sum(1, keepdim=True)
            height = torch.where(height < 0, height * ((1 - _FLOOR) / (1 + lowered)), height)
            steepness = bounded(log_steepness, _MAX_LOG_SCALE).exp()
            split.append((log_scale, numbers[:, 1], height, steepness, offsets + centre))
        return split
