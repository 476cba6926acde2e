"""Which parts start from data, and which only hand data on to parts that may."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

F = TypeVar("F", bound=Callable[..., Any])

INIT_ROWS = 64
"""Rows that go through a part together while it starts: memory does not grow with the init set."""


def hands_on(method: F) -> F:
    """Mark an ``initialize`` that sets nothing itself: data pass through it to other parts."""
    method.hands_on = True  # type: ignore[attr-defined]
    return method


def sets_itself(part: nn.Module) -> bool:
    """Whether a part has an ``initialize`` of its own that is not marked by `hands_on`."""
    method = getattr(type(part), "initialize", None)
    return method is not None and not getattr(method, "hands_on", False)


def starts_from_data(model: nn.Module) -> bool:
    """Whether any part of a model sets parameters from data before training."""
    return any(sets_itself(part) for part in model.modules())
