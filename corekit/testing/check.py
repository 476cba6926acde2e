"""What a check is: one promise, and a function that fails where it is broken."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from corekit.testing.case import Case

Run = Callable[["Case"], "str | None"]
Applies = Callable[["Case"], bool]


class CheckFailed(AssertionError):
    """A promise is broken; the message says which, by how much, and where to look."""


class CheckResult(NamedTuple):
    """What one check found on one case.

    Attributes:
        component: ``bijector planar.planar``.
        case: What it was built with: ``event_shape=(5,)``.
        check: Name of the check.
        status: ``passed``, ``failed``, ``expected`` (a failure that was named beforehand) or
            ``unexpected`` (one that was named and did not come).
        detail: What was measured, or what is wrong and where to look.
        seconds: How long it took.
    """

    component: str
    case: str
    check: str
    status: str
    detail: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return self.status in ("passed", "expected")


@dataclass(frozen=True)
class Check:
    """One promise of an interface.

    Args:
        name: What reports and `Conformance.expected_failures` call it.
        promise: One sentence: what holds if it passes.
        run: Fails with `CheckFailed`, or any other exception; may return what it measured.
        applies: Whether a case makes this promise at all.
        slow: Left out unless asked for.
        once: Options and shapes hardly change it: slow for all cases but the first.
    """

    name: str
    promise: str
    run: Run
    applies: Applies
    slow: bool = False
    once: bool = False

    def is_slow(self, case: Case) -> bool:
        """Whether it is left out for this case unless asked for."""
        return self.slow or (self.once and not case.first)

    def __call__(self, case: Case) -> CheckResult:
        """Run it on one case, with torch's random state set and put back."""
        start = time.perf_counter()
        try:
            with isolated():
                detail, passed = self.run(case) or "", True
        except Exception as error:
            detail, passed = _described(error), False
        reason = case.how.expected_failures.get(self.name)
        if reason is None:
            status = "passed" if passed else "failed"
        elif passed:
            status, detail = "unexpected", f"it was to fail ({reason}), and passes"
        else:
            status, detail = "expected", f"{reason} ({detail})"
        seconds = time.perf_counter() - start
        return CheckResult(case.component, case.label, self.name, status, detail, seconds)


def always(case: Case) -> bool:
    """Every case makes this promise."""
    return True


class Suite:
    """The checks of one kind, in the order in which they are run.

    Example:
        >>> suite = Suite()
        >>> @suite.check()
        ... def is_cheerful(case):
        ...     "It is cheerful."
        >>> [check.name for check in suite]
        ['is_cheerful']
    """

    def __init__(self, checks: Iterable[Check] = ()) -> None:
        self.checks = list(checks)

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def check(
        self, applies: Applies = always, *, slow: bool = False, once: bool = False
    ) -> Callable[[Run], Run]:
        """Add a function; its docstring is the promise."""

        def add(run: Run) -> Run:
            promise = " ".join((run.__doc__ or "").split())
            self.checks.append(Check(run.__name__, promise, run, applies, slow, once))
            return run

        return add


@contextmanager
def isolated() -> Iterator[None]:
    """A block with a random state of its own, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def expect(condition: bool, message: str) -> None:
    """Fail with a message unless the condition holds."""
    if not condition:
        raise CheckFailed(message)


def expect_close(
    what: str, got: Tensor, want: Tensor, tolerance: float, *, of: str = "", hint: str = ""
) -> str:
    """Fail unless two tensors agree within ``tolerance * (1 + max |want|)``; says by how much."""
    expect(
        tuple(got.shape) == tuple(want.shape),
        f"{what} must have shape {tuple(want.shape)}, got {tuple(got.shape)}.",
    )
    if not got.numel():
        return "no numbers to compare"
    difference = (got.detach().double() - want.detach().double()).abs()
    allowed = tolerance * (1 + want.detach().double().abs().max().item())
    worst = difference.max().item()
    if not worst <= allowed:  # NaN fails
        at = int(torch.nan_to_num(difference, nan=torch.inf).argmax())
        raise CheckFailed(
            f"{what} must equal {of or 'what it should be'} within {allowed:.1e}, got a "
            f"difference of {worst:.3g} ({got.flatten()[at].item():.6g} for "
            f"{want.flatten()[at].item():.6g}).{' ' if hint else ''}{hint}"
        )
    return f"largest error {worst:.1e}"


def expect_equal(what: str, got: Tensor, want: Tensor, hint: str = "") -> None:
    """Fail unless two tensors are the same, bit for bit (NaN equals NaN)."""
    same = got.shape == want.shape and got.dtype == want.dtype
    if same and got.is_floating_point():
        same = torch.allclose(got, want, rtol=0, atol=0, equal_nan=True)
    elif same:
        same = torch.equal(got, want)
    expect(same, f"{what}.{' ' if hint else ''}{hint}")


def _described(error: Exception) -> str:
    if isinstance(error, CheckFailed):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    file = place.filename.replace("\\", "/").rpartition("/")[2]
    return f"raised {type(error).__name__}: {text[:500]} ({file}:{place.lineno})"
