"""Run the checks of one component: as a function, or as tests."""

from __future__ import annotations

import atexit
import difflib
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from corekit.build import component as build_component
from corekit.errors import ShapeError, UsageError
from corekit.registry import registry
from corekit.spec import Spec, spec_class
from corekit.spec.describe import example
from corekit.testing.case import Case
from corekit.testing.check import Check, CheckResult, Suite, expect, isolated
from corekit.testing.conformance import Conformance
from corekit.testing.shapes import SHAPES
from corekit.testing.spec import SUITE as SPEC

if TYPE_CHECKING:
    import pytest

Part = str | Spec | Callable[..., Any]

SUITES = (
    "bijector",
    "callback",
    "dataset",
    "decoder",
    "denoiser",
    "denoising_loss",
    "encoder",
    "likelihood",
    "loss",
    "metric",
    "model",
    "network",
    "noise_schedule",
    "posterior",
    "prior",
    "quantizer",
    "sampler",
    "stochastic",
    "timestep_sampler",
    "univariate",
)


BUILT = "it_can_be_built"
"""The check that stands for all others where a component cannot be built."""


def check_component(
    kind: str,
    component: Part,
    *,
    how: Conformance | None = None,
    slow: bool = False,
    only: Collection[str] | None = None,
) -> list[CheckResult]:
    """Check a component against every promise of its interface.

    Args:
        kind: Its kind: "bijector".
        component: Its registered name, its spec, or what a build would call: a class or a function
            of the shapes that `corekit.build.GIVEN` lists for the kind.
        how: What to build, tolerances, named failures; what its declaration names unless given.
        slow: Run the slow checks too.
        only: Names of the checks to run; all of them unless given.

    Raises:
        PluginError: There is no such component.
        UsageError: ``only`` or ``how.expected_failures`` name a check that there is not.

    Example:
        >>> from corekit.flows.linear import Linear
        >>> results = check_component("bijector", Linear)
        >>> all(result.ok for result in results)
        True
    """
    _check_names(kind, only or ())
    return [
        check(case)
        for case, check in _plan(kind, component, how)
        if (slow or not check.is_slow(case)) and (only is None or check.name in only)
    ]


def parametrize_checks(
    kind: str, component: Part, *, how: Conformance | None = None
) -> pytest.MarkDecorator:
    """Make one test per case and check out of a function that takes ``check`` and calls it.

    ::

        @parametrize_checks("bijector", "planar.planar")
        def test_planar(check):
            check()

    Slow checks carry the marker ``slow``. A named failure must fail, or the test does.
    """
    import pytest

    params = []
    for case, check in _plan(kind, component, how):
        marks = [pytest.mark.slow] if check.is_slow(case) else []
        name = "-".join(filter(None, [check.name, case.label.replace("event_shape=", "")]))
        params.append(pytest.param(partial(_assert_passes, check, case), id=name, marks=marks))
    return pytest.mark.parametrize("check", params)


def _assert_passes(check: Check, case: Case) -> None:
    result = check(case)
    if not result.ok:
        raise AssertionError(f"{result.component} ({result.case}): {result.detail}")


def suite_of(kind: str) -> Suite:
    """The checks of the spec, and of the kind where it has an interface of its own."""
    own = import_module(f"corekit.testing.suites.{kind}").SUITE if kind in SUITES else ()
    return Suite([*SPEC, *own])


def _plan(kind: str, component: Part, how: Conformance | None) -> list[tuple[Case, Check]]:
    """Every case with every check that it promises."""
    subject = _subject(kind, component, how)
    _check_names(kind, subject.how.expected_failures)
    try:
        with isolated():
            cases = list(_cases(subject))
            return [(c, check) for c in cases for check in suite_of(kind) if _applies(check, c)]
    except Exception as error:  # the other checks cannot run: it is a check of its own that fails
        return [(_case(subject), _cannot_be_built(error))]


def _check_names(kind: str, names: Collection[str]) -> None:
    """Refuse a name that no check of the kind has: a misspelt one would be overlooked."""
    known = [*(check.name for check in suite_of(kind)), BUILT]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"Conformance: the name must be that of a check of a {kind}, got {name!r}.{hint} "
                "`corekit check-plugin --json` has them all."
            )


def _applies(check: Check, case: Case) -> bool:
    """Whether a case makes this promise; where that cannot be told, the check will say why."""
    try:
        return check.applies(case)
    except Exception:
        return True


class _Subject(NamedTuple):
    """What is checked, before it is built."""

    kind: str
    name: str
    how: Conformance
    variants: Callable[[], list[Variant]]


class Variant(NamedTuple):
    """A component with one set of options."""

    factory: Callable[..., Any]
    spec: Spec | None = None
    options: Mapping[str, Any] = {}


def _subject(kind: str, component: Part, how: Conformance | None) -> _Subject:
    if not isinstance(component, (str, Spec)):
        name, how, plain = _name_of(component), how or Conformance(), [Variant(component)]
        if any(how.options) or how.files is not None:
            raise UsageError(
                f"Conformance: options and files are those of a spec, got some for {name}, which "
                "is built without one. Give the name of a component, or a partial with its options."
            )
        return _Subject(kind, name, how, lambda: plain)
    name = component if isinstance(component, str) else component.type
    declared = registry().component(kind, name)
    how = how or registry().load_conformance(declared) or Conformance()
    return _Subject(kind, name, how, partial(_of_spec, kind, component, how))


def _of_spec(kind: str, component: str | Spec, how: Conformance) -> list[Variant]:
    """The given spec, or one for each of the options."""
    if isinstance(component, Spec):
        return [Variant(partial(build_component, kind, component), component)]
    found = spec_class(kind, component)
    files = _files(how)
    variants = []
    for options in how.options:
        spec = found.model_validate({**example(found), **files, **options})
        variants.append(Variant(partial(build_component, kind, spec), spec, options))
    return variants


def _files(how: Conformance) -> Mapping[str, Any]:
    """Let it write the files that it reads; they are removed when Python ends."""
    if how.files is None:
        return {}
    folder = Path(tempfile.mkdtemp(prefix="corekit-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return how.files(folder)


def _cases(subject: _Subject) -> Iterator[Case]:
    """The component with each of its options, in each shape that it accepts."""
    first = True
    for variant in subject.variants():
        for given in _given(subject, variant):
            yield replace(
                _case(subject),
                factory=variant.factory,
                spec=variant.spec,
                options=variant.options,
                given=given,
                first=first,
            )
            first = False


def _case(subject: _Subject) -> Case:
    return Case(subject.kind, subject.name, lambda: None, how=subject.how)


def _given(subject: _Subject, variant: Variant) -> Iterator[Mapping[str, Any]]:
    """The shapes to build it with: its own, or the first of each line that it accepts."""
    if subject.how.given is not None or subject.kind not in SHAPES:
        yield from [{}] if subject.how.given is None else subject.how.given
        return
    lines = SHAPES[subject.kind]
    accepted = [given for line in lines if (given := _first_accepted(line, variant)) is not None]
    expect(
        bool(accepted),
        f"it must take one of the shapes {[dict(given) for line in lines for given in line]}, "
        "got a ShapeError for each. Name one that it takes: Conformance(given=[...]).",
    )
    yield from accepted


def _first_accepted(
    line: tuple[Mapping[str, Any], ...], variant: Variant
) -> Mapping[str, Any] | None:
    for given in line:
        try:
            part = variant.factory(**given)
        except ShapeError:
            continue
        if _takes_all(part, given):
            return given
    return None


def _takes_all(part: Any, given: Mapping[str, Any]) -> bool:
    """Whether it asks for the context or the conditions that it was built with."""
    if given.get("context_shape") is not None:
        return part.context_shape is not None
    return not given.get("condition_shapes") or bool(part.condition_shapes)


def _cannot_be_built(error: Exception) -> Check:
    def it_can_be_built(case: Case) -> None:
        raise error

    promise = "The smallest example of its spec builds it, in a shape that it accepts."
    return Check(BUILT, promise, it_can_be_built, lambda case: True)


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))
