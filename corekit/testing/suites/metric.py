"""The promises of a Metric: figures that repeat, and that tell good from bad."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from corekit.interfaces.dataset import Figure, Metric
from corekit.interfaces.draws import Draws, RowDraws
from corekit.interfaces.records import Batch, Condition
from corekit.testing.case import Case
from corekit.testing.check import CheckFailed, Suite, expect, expect_close, expect_equal
from corekit.testing.linear_gaussian import LATENT, LinearGaussian

SUITE = Suite()
SETS = 24
"""Examples in each of the sets."""


def is_of_sets(case: Case) -> bool:
    """Whether it compares sets of examples, and does not measure a model."""
    return isinstance(case.part, Metric)


SHAPES = ((16, 3), (2,), (3, 8, 8))
"""Shapes of an example, tried in turn: a cloud, a vector, an image."""


def _sets(case: Case, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, reference and training examples of one distribution, in a shape that it takes."""
    if case.how.inputs is not None:
        drawn: Tensor = case.how.inputs(3 * SETS, dtype)
        return drawn[:SETS], drawn[SETS : 2 * SETS], drawn[2 * SETS :]
    errors = []
    for shape in SHAPES:
        wide = torch.linspace(1.0, 0.1, shape[-1], dtype=torch.float64)  # wider to one side
        drawn = wide * torch.randn(3, SETS, *shape, dtype=torch.float64)
        samples, reference, train = drawn.to(dtype)
        needs = case.fresh().needs
        if needs == "reconstructions":
            samples = reference + 0.1 * samples
        elif needs == "bits_per_dim":
            samples = samples.square().flatten(1).mean(1)
        try:
            case.fresh()(samples, reference, train)
        except Exception as error:
            errors.append(f"{shape}: {type(error).__name__}: {error}")
            continue
        return samples, reference, train
    raise CheckFailed(
        f"it must take examples of a shape among {SHAPES}, got {'; '.join(errors)}. Name one that "
        "it takes: Conformance(inputs=lambda rows, dtype: ...)."
    )


@SUITE.check(is_of_sets)
def figures_can_be_read(case: Case) -> None:
    """Every figure is finite, says which way is better, and carries its protocol as plain data."""
    _expect_readable(case.fresh()(*_sets(case)))


@SUITE.check(lambda case: not is_of_sets(case))
def figures_of_a_model_can_be_read(case: Case) -> None:
    """On a linear Gaussian model they are readable, repeat themselves, and use no global noise."""
    model = LinearGaussian(exact=False).model
    z = torch.randn(2, SETS, LATENT, dtype=torch.float64)

    def look(work: Callable[[Batch, Draws], Any]) -> list[Any]:
        found = []
        for number, part in enumerate(z):
            x = model.decode(part, generator=Draws(torch.Generator().manual_seed(number)))
            rows = range(number * SETS, (number + 1) * SETS)
            given = Condition(vector=part, labels=(part[:, 0] > 0).long())
            found.append(work(Batch(x, given), RowDraws(0, rows)))
        return found

    with torch.no_grad():
        state = torch.get_rng_state()
        figures, again = (case.fresh()(model, look) for _ in range(2))
    _expect_readable(figures)
    expect_close("the figures", _values(again), _values(figures), 1e-12, of="the first ones")
    expect_equal(
        "torch's global state must be left alone, but it moved", torch.get_rng_state(), state
    )


@SUITE.check(is_of_sets)
def it_repeats_itself(case: Case) -> str:
    """The same sets give the same figures, by a new instance too; no global randomness."""
    sets = _sets(case)
    state = torch.get_rng_state()
    metric = case.fresh()
    want, detail = _values(metric(*sets)), ""
    for other in (metric, case.fresh()):
        got = _values(other(*sets))
        detail = expect_close("the figures", got, want, 1e-12, of="those of the first time")
    expect_equal(
        "torch's global state must be left alone, but it moved", torch.get_rng_state(), state
    )
    return detail


@SUITE.check(is_of_sets)
def the_sets_are_untouched(case: Case) -> None:
    """No set is written to."""
    sets = _sets(case)
    before = [x.clone() for x in sets]
    case.fresh()(*sets)
    for name, now, then in zip(("samples", "reference", "train"), sets, before, strict=True):
        expect_equal(f"{name} must be left as they were, but they changed", now, then)


@SUITE.check(is_of_sets)
def float64_gives_the_same(case: Case) -> str:
    """The figures do not depend on the dtype of the sets."""
    sets = _sets(case)
    want = _values(case.fresh()(*sets))
    samples, reference, train = (x.double() for x in sets)
    got = _values(case.fresh()(samples, reference, train))
    return expect_close("figures of float64 sets", got, want, 1e-5, of="those of float32")


@SUITE.check(is_of_sets)
def it_tells_good_from_bad(case: Case) -> str:
    """Collapsed, far and turned samples score worse than those of the data's own distribution."""
    samples, reference, train = _sets(case)
    good = case.fresh()(samples, reference, train)
    one = 3 + 2 * samples[:1].flip(-1)  # of bits: more of them
    bad = case.fresh()(one + 0.01 * torch.randn_like(samples), reference, train)
    told = []
    for name, figure in good.items():
        other = bad[name]
        told.append(f"{name} {figure.value:.3g} and {other.value:.3g}")
        expect(
            _loss(figure) < _loss(other),
            f"{name} ({figure.better} is better) must be worse for samples of another "
            f"distribution, got {figure.value:.4g} for good ones and {other.value:.4g} for bad.",
        )
    return ", ".join(told)


def _is_of_sets(case: Case) -> bool:
    return is_of_sets(case) and case.part.needs == "samples"


@SUITE.check(_is_of_sets)
def the_order_of_the_samples_does_not_matter(case: Case) -> str:
    """A set has no order: shuffled samples give nearly the same figures."""
    samples, reference, train = _sets(case)
    want = _values(case.fresh()(samples, reference, train))
    got = _values(case.fresh()(samples.flip(0), reference, train))
    return expect_close("the figures of samples in another order", got, want, 1e-6, of="the same")


def _expect_readable(figures: Mapping[str, Figure]) -> None:
    expect(bool(figures), "there must be a figure, got none.")
    for name, figure in figures.items():
        expect(isinstance(figure, Figure), f"{name} must be a Figure, got {type(figure).__name__}.")
        numbers = [figure.value, *figure.references.values(), *([figure.sd] if figure.sd else [])]
        expect(all(map(math.isfinite, numbers)), f"{name} must be finite, got {numbers}.")
        ways = ("lower", "higher", "chance")
        expect(figure.better in ways, f"better of {name} must be one of {ways}.")
        if figure.better == "chance":
            expect("chance" in figure.references, f"{name} must have the reference 'chance'.")
        try:
            json.dumps(dict(figure.protocol))
        except TypeError as error:
            raise CheckFailed(f"the protocol of {name} must be plain data: {error}.") from error
        expect(bool(figure.protocol), f"{name} must say how it was measured, got no protocol.")


def _loss(figure: Figure) -> float:
    """The lower the better."""
    if figure.better == "chance":
        return abs(figure.value - figure.references["chance"])
    return figure.value if figure.better == "lower" else -figure.value


def _values(figures: Mapping[str, Figure]) -> Tensor:
    return torch.tensor([figure.value for figure in figures.values()], dtype=torch.float64)
