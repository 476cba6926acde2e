"""The promises of a Network."""

from __future__ import annotations

import torch

from corekit.errors import ShapeError
from corekit.interfaces.network import Network
from corekit.testing.case import ROWS, Case
from corekit.testing.check import Suite, expect
from corekit.testing.exercise import Exercise, Tensors
from corekit.testing.module import module_checks
from corekit.testing.refusal import expect_refused


class NetworkExercise(Exercise):
    """One pass."""

    compiles = True

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """x, and the context if it takes one."""
        part: Network = case.part
        inputs = {"x": torch.randn(rows, *part.in_shape, dtype=dtype)}
        if part.context_shape is not None:
            inputs["context"] = torch.randn(rows, *part.context_shape, dtype=dtype)
        return inputs

    def __call__(self, part: Network, inputs: Tensors) -> Tensors:
        """The output."""
        return {"output": part(inputs["x"], inputs.get("context"))}


EXERCISE = NetworkExercise()
SUITE = Suite()


def has_context(case: Case) -> bool:
    """Whether it takes a context."""
    return case.part.context_shape is not None


@SUITE.check()
def the_output_has_the_declared_shape(case: Case) -> None:
    """The output is ``(B, *out_shape)``."""
    part = case.ready()
    output = EXERCISE(part, EXERCISE.inputs(case, torch.float64))["output"]
    want = (ROWS, *part.out_shape)
    expect(tuple(output.shape) == want, f"output must have shape {want}, got {output.shape}.")


@SUITE.check()
def wrong_inputs_are_refused(case: Case) -> None:
    """A wrong shape, a missing or a superfluous context: ShapeError."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    x, context = inputs["x"], inputs.get("context")
    expect_refused("a longer x", lambda: part(torch.cat((x, x), dim=1), context), ShapeError)
    other = torch.zeros(len(x), 3).to(x) if context is None else None
    what = "a context that it does not take" if context is None else "no context"
    expect_refused(what, lambda: part(x, other), ShapeError)


@SUITE.check(has_context)
def the_context_matters(case: Case) -> None:
    """Another context gives another output."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    other = {**inputs, "context": inputs["context"] + 1}
    same = torch.equal(EXERCISE(part, inputs)["output"], EXERCISE(part, other)["output"])
    expect(not same, "another context must give another output, got the same.")


@SUITE.check(lambda case: case.part.autoregressive)
def an_output_sees_earlier_inputs_only(case: Case) -> None:
    """Output i depends on elements of a lower ``rank`` alone, and not all on none."""
    part: Network = case.ready()
    inputs = EXERCISE.inputs(case, torch.float64, rows=1)
    rank = part.rank.flatten()

    def flat(x: torch.Tensor) -> torch.Tensor:
        output = part(x.reshape(inputs["x"].shape), inputs.get("context"))
        return output.reshape(part.out_shape[0], -1)

    jacobian = torch.autograd.functional.jacobian(flat, inputs["x"].flatten())
    sees = (jacobian != 0).any(0)  # (output element, input element)
    earlier = rank[None, :] < rank[:, None]
    expect(
        not bool((sees & ~earlier).any()),
        "an output must not depend on its own input nor on a later one: the Jacobian of the layer "
        "would not be triangular, and its log-determinant wrong.",
    )
    expect(
        bool(sees[earlier].any()) or not bool(earlier.any()),
        "an output must depend on earlier inputs, got none that does.",
    )


@SUITE.check(lambda case: case.part.autoregressive)
def every_rank_has_a_round(case: Case) -> None:
    """``rank`` holds 0 … rounds - 1 and has the shape of x, ``out_shape`` is ``(P, *in_shape)``."""
    part: Network = case.part
    shapes = tuple(part.rank.shape), tuple(part.out_shape[1:])
    expect(
        shapes == (part.in_shape, part.in_shape),
        f"rank, and out_shape behind its first axis, must have the shape {part.in_shape}, got "
        f"{shapes}.",
    )
    found = sorted(set(part.rank.flatten().tolist()))
    expect(
        found == list(range(part.rounds)),
        f"the ranks must be 0 to {part.rounds - 1}, as it says that there are {part.rounds} "
        f"rounds, got {found}. An inverse takes one round per rank.",
    )


SUITE.checks += module_checks(EXERCISE)
