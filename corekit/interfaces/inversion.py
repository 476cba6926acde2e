"""The inverse of an increasing function of each element, found numerically."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Increasing = Callable[..., tuple[Tensor, Tensor]]
"""Called with x and the parameters: (value, log of the slope), element by element."""

_DOUBLINGS = 1100  # from 1 to beyond the largest float64
_STEPS = 200  # bisection alone needs fewer than that


def invert(
    function: Increasing,
    target: Tensor,
    given: Sequence[Tensor],
    low: Tensor | None = None,
    high: Tensor | None = None,
) -> Tensor:
    r"""x with f(x; given) = target, for every element, by Newton steps inside a shrinking bracket.

    A Newton step that leaves the bracket, or is not half as long as the last, is replaced by the
    middle of the bracket, so nothing is asked of f but that it increases. The gradient is that of
    the implicit function,

    .. math:: \frac{\partial x}{\partial y} = \frac{1}{f'(x)}, \qquad
        \frac{\partial x}{\partial \theta} = -\frac{1}{f'(x)} \frac{\partial f}{\partial \theta}

    Args:
        function: f, increasing in x.
        target: y.
        given: What else f depends on; gradients reach it.
        low: x lies above, if known; otherwise a bound is looked for.
        high: x lies below, if known.

    Returns:
        x, as precise as the dtype of y allows.
    """
    fixed = [value.detach() for value in given]
    with torch.no_grad():
        x = _solve(lambda x: function(x, *fixed), target.detach(), low, high)
    if not torch.is_grad_enabled() or not any(v.requires_grad for v in (target, *given)):
        return x
    value, log_slope = function(x, *given)
    slope = log_slope.detach().to(x.dtype).exp()
    return x - (value - target - (value - target).detach()) / slope


def _solve(f: Increasing, y: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    low, high = _bound(f, y, low, -1), _bound(f, y, high, 1)
    x, step = low / 2 + high / 2, high - low
    for _ in range(_STEPS):
        value, log_slope = f(x)
        error = value - y
        low, high = torch.where(error <= 0, x, low), torch.where(error >= 0, x, high)
        newton = x - error * (-log_slope).to(x.dtype).exp()
        # A step that leaves the bracket, or is not half as long as the last one, bisects instead.
        good = (newton >= low) & (newton <= high) & ((newton - x).abs() <= step / 2)
        new = torch.where(good, newton, low / 2 + high / 2)
        x, step = new, (new - x).abs()
        if _none(step):
            break
    return x


def _bound(f: Increasing, y: Tensor, given: Tensor | None, sign: int) -> Tensor:
    """A bound of x on one side: the given one, or found by doubling."""
    if given is not None:
        return given.detach().to(y.dtype)
    bound = torch.full_like(y, float(sign))
    for _ in range(_DOUBLINGS):
        short = sign * (f(bound)[0] - y) < 0
        if _none(short):
            break
        bound = torch.where(short, 2 * bound, bound)
    return bound


def _none(value: Tensor) -> bool:
    """Whether every element is zero; of a tensor without numbers, yes."""
    return value.is_meta or not bool(value.any())
