"""The promises of a GenerativeModel: what the trainer and the commands rely on."""

from __future__ import annotations

import torch
from torch import Tensor

from corekit.errors import NoDensity, UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.model import MAIN, GenerativeModel
from corekit.interfaces.records import Batch, Condition
from corekit.testing.case import ROWS, Case
from corekit.testing.check import CheckFailed, Suite, expect, expect_equal
from corekit.testing.exercise import Exercise, Tensors, draws
from corekit.testing.module import module_checks
from corekit.testing.suites.density import expect_terms


class ModelExercise(Exercise):
    """The total of its loss."""

    wide = frozenset({"total"})

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """Rows of data, and every condition that comes with them: classes 0 and 1, other numbers.

        These lie in [0, 1], as several labels do.
        """
        data = case.part.data
        x = case.draw(data.event_shape, data.support, dtype, rows)
        conditions = {
            name: torch.arange(rows) % 2 if name == "labels" else torch.rand(rows, *shape).to(dtype)
            for name, shape in data.condition_shapes.items()
        }
        return {"x": x, **conditions, "rows": torch.arange(rows)}

    def __call__(self, part: GenerativeModel, inputs: Tensors) -> Tensors:
        """total."""
        return {"total": part(batch_of(part, inputs), draws=draws(inputs)).total}


def condition_of(part: GenerativeModel, inputs: Tensors, rows: int = ROWS) -> Condition | None:
    """The conditions among the first rows of the inputs."""
    names = part.data.condition_shapes
    return Condition(**{name: inputs[name][:rows] for name in names}) if names else None


def batch_of(part: GenerativeModel, inputs: Tensors) -> Batch:
    """The inputs as a batch."""
    return Batch(inputs["x"], condition_of(part, inputs, len(inputs["x"])))


EXERCISE = ModelExercise()
SUITE = Suite()


def can_encode(case: Case) -> bool:
    """Whether it has a latent."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    try:
        part.encode(inputs["x"], condition_of(part, inputs))
    except UsageError:
        return False
    return True


def can_sample(case: Case) -> bool:
    """Whether it can sample: an auto-encoder cannot."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    try:
        part.sample(1, condition_of(part, inputs, 1), generator=_generator())
    except UsageError:
        return False
    return True


@SUITE.check()
def the_loss_has_terms_with_units(case: Case) -> None:
    """The total is one number per row, and every term has a shape and a unit."""
    inputs = EXERCISE.inputs(case, torch.float64)
    part = case.ready()
    expect_terms(part(batch_of(part, inputs), draws=draws(inputs)), ROWS)


@SUITE.check()
def every_phase_has_a_loss_and_parameters(case: Case) -> None:
    """Each phase, main among them, has parameters, and a loss that asks them for gradients."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    own: dict[str, list[Tensor]] = {phase: [] for phase in part.phases}
    expect(MAIN in own, f"phases must have '{MAIN}' among them, got {part.phases}.")
    for name, parameter in part.named_parameters():
        phase = part.phase_of(name)
        expect(phase in own, f"phase_of('{name}') must be one of {part.phases}, got '{phase}'.")
        own[phase].append(parameter)
    for phase, parameters in own.items():
        expect(bool(parameters) or len(own) == 1, f"phase '{phase}' must have parameters.")
        terms = part(batch_of(part, inputs), phase=phase, draws=draws(inputs))
        expect_terms(terms, ROWS)
        part.zero_grad(set_to_none=True)
        if parameters:
            terms.total.sum().backward()
        got = not parameters or any(p.grad is not None for p in parameters)
        expect(got, f"the loss of phase '{phase}' must move its parameters, got no gradient.")


@SUITE.check()
def what_is_seen_leads_to_a_part(case: Case) -> None:
    """Every path in ``seen`` names a part of the model that can observe losses."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    for path in part(batch_of(part, inputs), draws=draws(inputs)).seen:
        try:
            found = part.get_submodule(path)
        except AttributeError as error:
            raise CheckFailed(f"seen '{path}' must name a part of the model: {error}.") from error
        expect(hasattr(found, "observe"), f"'{path}' must have a method observe, got none.")


@SUITE.check()
def its_likelihood_is_what_it_declares(case: Case) -> None:
    """log_prob is of the declared kind, one number per row; without one it raises NoDensity."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    try:
        got = part.log_prob(inputs["x"], condition_of(part, inputs), generator=_generator())
    except NoDensity:
        expect(
            part.kind is Likelihood.NONE,
            f"log_prob of kind '{part.kind.value}' must be a number, but it raised NoDensity.",
        )
        return
    expect(
        got.kind is part.kind and tuple(got.value.shape) == (ROWS,),
        f"log_prob must be of kind '{part.kind.value}' and shape ({ROWS},), got "
        f"'{got.kind.value}' and {tuple(got.value.shape)}.",
    )


@SUITE.check(can_sample)
def samples_are_as_declared(case: Case) -> None:
    """Samples have the event shape and no gradient, and the generator alone decides them."""
    part = case.ready(torch.float32)
    condition = condition_of(part, EXERCISE.inputs(case, torch.float32), 3)
    want, state = (3, *part.data.event_shape), torch.get_rng_state()
    first, again, other = (
        part.sample(3, condition, generator=_generator(seed)) for seed in (0, 0, 1)
    )
    expect(tuple(first.shape) == want, f"samples must have shape {want}, got {first.shape}.")
    expect(first.dtype is torch.float32, f"samples must be float32, got {first.dtype}.")
    expect(not first.requires_grad, "samples must have no gradient. Use torch.no_grad.")
    expect_equal("the same generator must give the same samples, but they differ", again, first)
    expect(not torch.equal(first, other), "another generator must give other samples.")
    now = torch.get_rng_state()
    expect_equal("torch's global random state must be left alone, but it moved", now, state)


@SUITE.check(can_encode)
def data_are_encoded_and_reconstructed(case: Case) -> None:
    """A row has a latent, which is decoded to data of the event shape, row by row."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    x, condition = inputs["x"], condition_of(part, inputs)
    z = part.encode(x, condition)
    expect(len(z) == ROWS and not z.requires_grad, "encode must give one latent per row, detached.")
    back: Tensor = part.reconstruct(x, condition, generator=_generator())
    expect(
        back.shape == x.shape,
        f"a reconstruction must have shape {tuple(x.shape)}, got {tuple(back.shape)}.",
    )


@SUITE.check()
def entry_points_are_methods(case: Case) -> None:
    """Everything in ``entry_points`` is a method: a trainer registers them with its wrappers."""
    missing = [n for n in case.part.entry_points if not callable(getattr(case.part, n, None))]
    expect(not missing, f"entry_points must be methods, got {', '.join(missing)}.")


def _generator(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


SUITE.checks += module_checks(EXERCISE)
