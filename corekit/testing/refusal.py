"""Whether a caller's mistake is refused, and in words that help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corekit.errors import CorekitError
from corekit.testing.check import CheckFailed, expect

ADVICE = (
    "Where a base class has a public method that checks, and calls one with an underscore, write "
    "the latter; else check."
)


def expect_refused(
    what: str, call: Callable[[], Any], error: type[CorekitError] = CorekitError
) -> None:
    """Fail unless the call raises an error of corekit that says what was got."""
    try:
        call()
    except error as refused:
        text = str(refused)
        expect(
            "got" in text,
            f"the error for {what} must say what was got (`<Who>: <what> must <rule>, got "
            f"<value>.`), got the text {text!r}.",
        )
    except Exception as other:
        raise CheckFailed(
            f"{what} must be refused with {error.__name__}, got {type(other).__name__}: {other}. "
            f"{ADVICE}"
        ) from other
    else:
        raise CheckFailed(
            f"{what} must be refused with {error.__name__}, but it was accepted. {ADVICE}"
        )
