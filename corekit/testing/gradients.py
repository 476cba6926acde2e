"""Gradients: do they reach every parameter, and are they right?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from corekit.testing.case import Case
from corekit.testing.check import CheckFailed, Suite, expect
from corekit.testing.exercise import Exercise, Tensors

SLOPE = 1e-6
"""Largest difference between a gradient and a finite difference, absolute and relative."""


def gradient_checks(suite: Suite, exercise: Exercise) -> None:
    """Add the checks of gradients to a suite."""

    def slope_of(case: Case) -> tuple[Callable[[], Tensor], dict[str, Tensor]]:
        part, inputs = case.ready(), exercise.inputs(case, torch.float64)
        for name, value in inputs.items():
            inputs[name] = value.requires_grad_() if value.is_floating_point() else value
        leaves = {name: v for name, v in inputs.items() if v.requires_grad}
        leaves |= {f"parameter {name}": p for name, p in part.named_parameters()}
        leaves = {name: leaf for name, leaf in leaves.items() if leaf.numel()}
        return (lambda: _mixed(exercise.differentiable(exercise(part, inputs)))), leaves

    @suite.check()
    def gradients_reach_every_parameter(case: Case) -> None:
        """Every parameter gets a gradient, finite and not all zero."""
        loss, leaves = slope_of(case)
        if not any(name.startswith("parameter") for name in leaves):
            return
        loss().backward()
        for name, leaf in leaves.items():
            if name.startswith("parameter"):
                grad = leaf.grad
                if grad is None:
                    raise CheckFailed(
                        f"{name} must get a gradient, got none. Is it used, and not detached?"
                    )
                expect(bool(grad.isfinite().all()), f"{name} must get a finite gradient.")
                expect(bool(grad.any()), f"{name} must get a gradient, got zeros. Is it used?")

    @suite.check()
    def gradients_equal_finite_differences(case: Case) -> str:
        """Autograd agrees with a finite difference, for every parameter and every input."""
        loss, leaves = slope_of(case)
        value = loss()
        grads: Sequence[Tensor | None] = [None] * len(leaves)
        if value.requires_grad:
            grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        known = [
            torch.zeros_like(leaf) if grad is None else grad
            for leaf, grad in zip(leaves.values(), grads, strict=True)
        ]
        slope, want = _closest(loss, list(leaves.values()), known)
        if _agree(slope, want):
            return f"largest error {abs(slope - want):.1e}"
        worst = 0.0  # one by one, to say which it is
        for (name, leaf), grad in zip(leaves.items(), known, strict=True):
            slope, want = _closest(loss, [leaf], [grad])
            worst = max(worst, abs(slope - want))
            expect(
                _agree(slope, want),
                f"the gradient with respect to {name} must equal the finite difference "
                f"{want:.7g}, got {slope:.7g}. Something on the way is detached, or has a wrong "
                "backward.",
            )
        return f"largest error {worst:.1e}"


def _mixed(outputs: Tensors) -> Tensor:
    """One number from all outputs, with a weight of its own for each entry."""
    generator = torch.Generator().manual_seed(3)
    total: Any = 0.0
    for value in outputs.values():
        weights = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        total = total + (weights * value).sum()
    return total


def _agree(slope: float, want: float) -> bool:
    return abs(slope - want) <= SLOPE * (1 + abs(want))


def _closest(
    loss: Callable[[], Tensor], leaves: Sequence[Tensor], grads: Sequence[Tensor]
) -> tuple[float, float]:
    """Slope by autograd and by differences, along the first of three directions where they agree.

    All leaves move at once. A step may cross the kink of a ReLU or of a maximum; a wrong gradient
    is wrong in every direction.
    """
    slope = want = 0.0
    for _ in range(3):
        flat = [torch.nn.functional.normalize(torch.randn_like(v).flatten(), dim=0) for v in leaves]
        directions = [d.reshape(v.shape) for d, v in zip(flat, leaves, strict=True)]
        slope = sum((g * d).sum().item() for g, d in zip(grads, directions, strict=True))
        want = _difference(loss, leaves, directions)
        if _agree(slope, want):
            break
    return slope, want


def _difference(
    loss: Callable[[], Tensor], leaves: Sequence[Tensor], directions: Sequence[Tensor]
) -> float:
    """The slope of a loss along a direction: central differences of two steps, extrapolated."""
    coarse, fine = (_central(loss, leaves, directions, step) for step in (2e-5, 1e-5))
    return (4 * fine - coarse) / 3


def _central(
    loss: Callable[[], Tensor],
    leaves: Sequence[Tensor],
    directions: Sequence[Tensor],
    step: float,
) -> float:
    sides, before = [], [leaf.detach().clone() for leaf in leaves]
    with torch.no_grad():
        for sign in (1, -1):
            for leaf, start, direction in zip(leaves, before, directions, strict=True):
                leaf.copy_(start + sign * step * direction)
            sides.append(loss().item())
        for leaf, start in zip(leaves, before, strict=True):
            leaf.copy_(start)
    return (sides[0] - sides[1]) / (2 * step)
