"""Checks that every kind of module shares: gradients, state, devices, dtypes, rows."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import torch
from torch import Tensor, nn

from corekit.testing.case import Case
from corekit.testing.check import Check, Suite, expect, expect_close, expect_equal
from corekit.testing.exercise import Exercise, Tensors, moved
from corekit.testing.gradients import gradient_checks

MANY = 64
"""Rows where chance must be ruled out."""

WIDEN = "Convert before the sum: x.to(torch.promote_types(x.dtype, torch.float32))."


def module_checks(exercise: Exercise) -> list[Check]:
    """The shared checks, run the way of one kind."""
    suite = Suite()
    for define in (_shapes_and_types, _rows, gradient_checks, _state, _precision, _compiled):
        define(suite, exercise)
    return suite.checks


def rows_are_separate(case: Case) -> bool:
    """Whether the part claims that rows do not influence each other."""
    return not getattr(case.part, "rows_coupled", False)


def _shapes_and_types(suite: Suite, exercise: Exercise) -> None:
    @suite.check()
    def outputs_have_the_dtype_of_the_input(case: Case) -> None:
        """Every output has the dtype of the input; sums of logarithms at least float32."""
        for dtype in (torch.float32, torch.float64):
            inputs = exercise.inputs(case, dtype)
            for name, value in exercise(case.ready(dtype), inputs).items():
                want = exercise.expected_dtype(name, dtype)
                if value.is_floating_point():
                    expect(
                        value.dtype is want,
                        f"{name} must be {want} for an input of {dtype}, got {value.dtype}. Make "
                        "new tensors with x.new_zeros or dtype=x.dtype, not with torch.zeros.",
                    )

    @suite.check()
    def the_device_is_that_of_the_input(case: Case) -> str:
        """The part runs on another device: no tensor is made on the CPU, none is left behind."""
        names = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]
        for name in names:
            device = torch.device(name)
            part = case.ready(torch.float32).to(device)
            outputs = exercise(part, moved(exercise.inputs(case, torch.float32), device))
            for output, value in outputs.items():
                expect(
                    value.device.type == device.type,
                    f"{output} must be on {name}, got {value.device}. Make new tensors with "
                    "device=x.device, and register constant ones as buffers.",
                )
        return " and ".join(names)

    @suite.check(once=True)
    def an_empty_batch_is_fine(case: Case) -> None:
        """A batch of no rows gives outputs of no rows."""
        inputs = exercise.inputs(case, torch.float64)
        empty = {name: value[:0] for name, value in inputs.items()}
        full = exercise(case.ready(), inputs)
        for name, value in exercise(case.ready(), empty).items():
            want = (0, *full[name].shape[1:])
            expect(
                tuple(value.shape) == want,
                f"{name} of no rows must have shape {want}, got {tuple(value.shape)}.",
            )

    @suite.check(once=True)
    def it_builds_on_the_meta_device(case: Case) -> None:
        """It can be built without memory for its weights: `corekit validate --build` does."""
        with torch.device("meta"):
            case.fresh()


def _rows(suite: Suite, exercise: Exercise) -> None:
    @suite.check(rows_are_separate)
    def rows_do_not_mix(case: Case) -> str:
        """A row comes out the same alone, in a batch, and in another order."""
        part, inputs = case.ready(), exercise.inputs(case, torch.float64)
        whole = exercise(part, inputs)
        rows = len(next(iter(inputs.values())))
        backwards = torch.arange(rows - 1, -1, -1)
        worst = ""
        for picked in (torch.tensor([0]), torch.tensor([rows - 1]), backwards):
            some = exercise(part, {name: value[picked] for name, value in inputs.items()})
            for name, value in some.items():
                worst = expect_close(
                    f"{name} of row {picked[0].item()} beside {len(picked) - 1} other rows",
                    value,
                    whole[name][picked],
                    case.how.tolerance,
                    of="that in the whole batch",
                    hint="Nothing may be computed over the batch axis. If it must be (a batch "
                    "norm in a flow), say so: rows_coupled = True.",
                )
        return worst

    @suite.check(once=True)
    def the_input_is_untouched(case: Case) -> None:
        """No input is written to."""
        inputs = exercise.inputs(case, torch.float64)
        before = {name: value.clone() for name, value in inputs.items()}
        exercise(case.ready(), inputs)
        for name, value in inputs.items():
            expect_equal(
                f"{name} must be left as it was, but it changed",
                value,
                before[name],
                "Do not work in place (x += y, x[...] = y, add_): use x = x + y.",
            )

    @suite.check(once=True)
    def the_same_input_gives_the_same_output(case: Case) -> None:
        """In eval mode it repeats itself, and draws nothing from torch's global generator."""
        part, inputs = case.ready(), exercise.inputs(case, torch.float64)
        state = torch.get_rng_state()
        first = exercise(part, inputs)
        expect_equal(
            "torch's global random state must be left alone, but it moved",
            torch.get_rng_state(),
            state,
            "Take random numbers from the generator or the draws that you are given.",
        )
        for name, value in exercise(part, inputs).items():
            expect_equal(f"{name} must be the same twice, but it differs", value, first[name])


def _state(suite: Suite, exercise: Exercise) -> None:
    def same_outputs(what: str, got: Tensors, want: Tensors, hint: str) -> None:
        for name, value in got.items():
            expect_equal(f"{name} of {what} must be the same, but it differs", value, want[name])

    @suite.check(once=True)
    def every_tensor_is_a_parameter_or_a_buffer(case: Case) -> None:
        """No tensor is a plain attribute: it would not move with the module, nor be saved."""
        loose = [
            f"{path}.{name}".lstrip(".")
            for path, module in case.fresh().named_modules()
            for name, value in vars(module).items()
            if isinstance(value, Tensor)
        ]
        expect(
            not loose,
            f"every tensor must be a parameter or a buffer, got plain attributes "
            f"{', '.join(loose)}. Use self.register_buffer.",
        )

    @suite.check(once=True)
    def a_state_dict_restores_it(case: Case) -> None:
        """Another instance, made from another seed, is the same once it has the state dict."""
        part, inputs = case.ready(), exercise.inputs(case, torch.float64)
        other = case.fresh(seed=2).to(torch.float64).eval()
        other.load_state_dict(part.state_dict())
        same_outputs("a restored copy", exercise(other, inputs), exercise(part, inputs), "")

    @suite.check(once=True)
    def copies_are_equal_and_separate(case: Case) -> None:
        """copy.deepcopy and pickle give the same part, with weights of its own."""
        part, inputs = case.ready(), exercise.inputs(case, torch.float64)
        want = exercise(part, inputs)
        for how, other in (
            ("a deep copy", copy.deepcopy(part)),
            ("a pickled copy", _pickled(part)),
        ):
            same_outputs(how, exercise(other, inputs), want, "")
            with torch.no_grad():
                for parameter in other.parameters():
                    parameter.zero_()
        same_outputs("the original after its copy changed", exercise(part, inputs), want, "")

    @suite.check(once=True)
    def evaluation_changes_no_state(case: Case) -> None:
        """In eval mode no buffer and no parameter moves: no running average, no initialisation."""
        part, inputs = case.ready(), exercise.inputs(case, torch.float64)
        before = copy.deepcopy(part.state_dict())
        exercise(part, inputs)
        for name, value in part.state_dict().items():
            expect_equal(
                f"{name} must stay as it was in eval mode, but it changed",
                value,
                before[name],
                "Update running averages only where self.training is true.",
            )


def _precision(suite: Suite, exercise: Exercise) -> None:
    @suite.check()
    def it_runs_under_autocast(case: Case) -> None:
        """Under bfloat16 autocast outputs are finite, and sums of logarithms kept in float32."""
        part, inputs = case.ready(torch.float32), exercise.inputs(case, torch.float32, MANY)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = exercise(part, inputs)
        _expect_wide(exercise, outputs, exercise(part, inputs))

    @suite.check()
    def it_runs_in_bfloat16(case: Case) -> None:
        """With weights and input in bfloat16, sums of logarithms are still made in float32."""
        part = case.ready(torch.float32).to(torch.bfloat16)
        inputs = exercise.inputs(case, torch.bfloat16, MANY)
        outputs = exercise(part, inputs)
        wide = {n: v.float() if v.is_floating_point() else v for n, v in inputs.items()}
        _expect_wide(exercise, outputs, exercise(part.float(), wide))


def _compiled(suite: Suite, exercise: Exercise) -> None:
    def expect_compiled(case: Case, backend: str) -> str:
        part = case.ready()
        inputs = exercise.compilable(part, exercise.inputs(case, torch.float64))
        torch._dynamo.reset()
        run = torch.compile(lambda values: exercise(part, values), backend=backend, fullgraph=True)
        want, detail = exercise(part, inputs), ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler, about itself
            got = run(inputs)
        for name, value in got.items():
            detail = expect_close(
                f"{name}, compiled,", value, want[name], case.how.tolerance, of="that of eager mode"
            )
        return detail

    def compiles(case: Case) -> bool:
        return bool(exercise.compilable(case.part, exercise.inputs(case, torch.float64)))

    def first(case: Case) -> bool:
        return case.first and compiles(case)

    @suite.check(first)
    def it_compiles(case: Case) -> str:
        """torch.compile takes it as one graph that computes the same, with the first options."""
        return expect_compiled(case, "eager")

    @suite.check(lambda case: not case.first and compiles(case), slow=True)
    def it_compiles_with_all_options(case: Case) -> str:
        """The same with its other options, and in other shapes."""
        return expect_compiled(case, "eager")

    @suite.check(first, slow=True)
    def it_compiles_with_inductor(case: Case) -> str:
        """The default backend of torch.compile computes the same, with the first options."""
        return expect_compiled(case, "inductor")


def _expect_wide(exercise: Exercise, outputs: Tensors, exact: Tensors) -> None:
    """Fail unless the wide outputs were summed in float32; ``exact`` has no half precision.

    Numbers that all happen to be ones of bfloat16 were rounded to it. One number for all rows may
    be such by chance: it depends on the weights alone, so it must equal the exact one.
    """
    for name, value in outputs.items():
        expect(bool(value.isfinite().all()), f"{name} must be finite, got NaN or infinity.")
        if name not in exercise.wide:
            continue
        expect(
            value.dtype in (torch.float32, torch.float64),
            f"{name} must be float32 or wider in half precision, got {value.dtype}.",
        )
        if bool((value == value[:1]).all()):
            expect_close(name, value, exact[name], 1e-5, of="that of float32", hint=WIDEN)
        else:
            rounded = torch.equal(value, value.bfloat16().to(value.dtype))
            expect(
                not rounded,
                f"{name} must be summed in float32, got numbers that bfloat16 holds exactly. "
                f"{WIDEN}",
            )


def _pickled(part: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    pickle.dump(part, buffer)
    buffer.seek(0)
    loaded: nn.Module = pickle.load(buffer)
    return loaded
