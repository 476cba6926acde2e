"""Random numbers for parts whose signature has no place for them: estimates inside a bijector."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from corekit.interfaces.draws import Draws, Randomness, as_draws

_CURRENT: ContextVar[Draws | None] = ContextVar("corekit_draws", default=None)


@contextmanager
def drawing(source: Randomness) -> Iterator[None]:
    """A block whose estimates take their random numbers from ``source``.

    A density opens one around its bijector, with the draws that it was called with, so that the
    noise of an estimated log-determinant is seeded, resumed and injected like any other.

    Example:
        >>> import torch
        >>> like = torch.zeros(())
        >>> with drawing(torch.Generator().manual_seed(0)):
        ...     current_draws().normal("probe", (1,), like)
        tensor([1.5410])
    """
    token = _CURRENT.set(as_draws(source))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_draws() -> Draws:
    """The draws of the innermost block; outside of any, torch's global generator."""
    return _CURRENT.get() or Draws()
