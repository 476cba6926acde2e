"""Which components a spec names: walk its slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from corekit.spec.base import Spec
from corekit.spec.slots import Slot


def slot_kind(field: FieldInfo) -> str | None:
    """The kind of component that a field holds, alone or in a list; None if it holds none.

    Example:
        >>> from corekit.spec.run import RunSpec
        >>> slot_kind(RunSpec.model_fields["metrics"]), slot_kind(RunSpec.model_fields["train"])
        ('metric', None)
    """
    slots = [m for m in field.metadata if isinstance(m, Slot)] or list(_slots(field.annotation))
    return slots[0].kind if slots else None


def _slots(annotation: Any) -> Iterator[Slot]:
    yield from (m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, Slot))
    for inner in get_args(annotation):
        yield from _slots(inner)


def parts(spec: BaseModel) -> Iterator[tuple[str, Spec]]:
    """Every component spec inside a spec with its kind, outermost first."""
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        kind = slot_kind(field)
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if kind is not None and isinstance(item, Spec):
                yield kind, item
            if isinstance(item, BaseModel):
                yield from parts(item)
