"""The promises of a Quantizer."""

from __future__ import annotations

import torch

from corekit.errors import ShapeError
from corekit.interfaces.quantizer import Quantizer
from corekit.testing.case import ROWS, Case
from corekit.testing.check import Suite, expect, expect_close, expect_equal
from corekit.testing.exercise import Exercise, Tensors
from corekit.testing.module import module_checks
from corekit.testing.refusal import expect_refused


class QuantizerExercise(Exercise):
    """Quantized latents, their codes and the loss."""

    wide = frozenset({"loss"})

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """Latents."""
        return {"z": torch.randn(rows, *case.part.latent_shape, dtype=dtype)}

    def __call__(self, part: Quantizer, inputs: Tensors) -> Tensors:
        """z and loss."""
        found = part(inputs["z"])
        return {"z": found.z, "loss": found.loss}

    def expected_dtype(self, name: str, dtype: torch.dtype) -> torch.dtype:
        """The loss is kept in float32 or wider."""
        return torch.promote_types(dtype, torch.float32) if name == "loss" else dtype


EXERCISE = QuantizerExercise()
SUITE = Suite()


@SUITE.check()
def codes_are_whole_numbers_of_the_declared_shape(case: Case) -> None:
    """Codes have ``codes_shape`` and lie in 0 ... levels - 1."""
    part, z = case.ready(), EXERCISE.inputs(case, torch.float64)["z"]
    codes = part(z).codes
    want = (ROWS, *part.codes_shape)
    expect(tuple(codes.shape) == want, f"codes must have shape {want}, got {codes.shape}.")
    expect(codes.dtype is torch.int64, f"codes must be int64, got {codes.dtype}.")
    inside = bool(((codes >= 0) & (codes < part.levels)).all())
    expect(inside, f"codes must lie in 0 to {part.levels - 1}, got {codes.min()} to {codes.max()}.")


@SUITE.check()
def codes_stand_for_what_was_made_of_them(case: Case) -> None:
    """``vectors`` of the codes are the quantized latents, which are quantized to themselves."""
    part, z = case.ready(), EXERCISE.inputs(case, torch.float64)["z"]
    with torch.no_grad():
        found = part(z)
        vectors = part.vectors(found.codes)
    expect_close("vectors of the codes", vectors.double(), found.z, 1e-6, of="the latents")


@SUITE.check()
def the_gradient_goes_through(case: Case) -> None:
    """What comes after sends a gradient to every element of z."""
    part, z = case.ready(), EXERCISE.inputs(case, torch.float64)["z"].requires_grad_()
    part(z).z.sum().backward()
    reached = z.grad is not None and bool((z.grad != 0).all())
    expect(reached, "every element of z must get a gradient from the quantized latents.")


@SUITE.check()
def evaluation_learns_nothing(case: Case) -> None:
    """In evaluation mode there is nothing to observe, and a second pass gives the same."""
    part, z = case.ready().eval(), EXERCISE.inputs(case, torch.float64)["z"]
    first, second = part(z), part(z)
    expect(first.seen is None, "in evaluation mode `seen` must be None.")
    expect_equal("the codes of a second pass", second.codes, first.codes)


@SUITE.check()
def wrong_shapes_are_refused(case: Case) -> None:
    """A wrong shape of z or of codes is a ShapeError, in words."""
    part, z = case.ready(), EXERCISE.inputs(case, torch.float64)["z"]
    expect_refused("a longer z", lambda: part(torch.cat((z, z), 1)), ShapeError)
    codes = part(z).codes
    expect_refused("longer codes", lambda: part.vectors(torch.cat((codes, codes), 1)), ShapeError)


_SLOPE = "gradients_equal_finite_differences"  # rounding has a gradient that is not its slope
SUITE.checks += [check for check in module_checks(EXERCISE) if check.name != _SLOPE]
