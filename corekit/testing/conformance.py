"""How a component wants to be tested, where the defaults do not do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Conformance:
    """What to build for the checks, how exact it is, and what it is known not to do.

    A package names one in its declaration, ``Component(..., conformance="module:NAME")``, or
    hands it to `check_component`. What a part is by nature (``logdet_kind``, ``rows_coupled``,
    ``has_inverse``, ``kind``, ``order``, ``noise_share``, ``is_error``) is not said here but by
    attributes of its class.

    Args:
        options: Spec options to try, one case each; merged over the smallest example of the spec.
            Refused for what is built without a spec.
        given: What it is built with (`corekit.build.GIVEN`), one case each; the default is every
            usual shape of its kind that it accepts.
        tolerance: Largest error in float64, absolute and relative. An adaptive solver names its
            own here.
        tolerance_float32: The same in float32.
        prepare: Called with a freshly built part in place of the random change of its weights
            (`corekit.testing.case.redraw`), where weights may not be moved freely.
        inputs: ``(rows, dtype) -> x``, where random normal numbers are not what it takes.
        files: Called with an empty folder; writes the files that it reads, and returns the options
            that name them.
        expected_failures: Name of a check -> why it must fail. One that passes is reported.

    Example:
        >>> Conformance(options=({"hidden": 8}, {"hidden": 8, "swap": True}), tolerance=1e-8)
        ... # doctest: +ELLIPSIS
        Conformance(options=({'hidden': 8}, {'hidden': 8, 'swap': True}), ...)
    """

    options: Sequence[Mapping[str, Any]] = ({},)
    given: Sequence[Mapping[str, Any]] | None = None
    tolerance: float = 1e-9
    tolerance_float32: float = 1e-4
    prepare: Callable[[Any], None] | None = None
    inputs: Callable[..., Any] | None = None
    files: Callable[[Path], Mapping[str, Any]] | None = None
    expected_failures: Mapping[str, str] = field(default_factory=dict)
