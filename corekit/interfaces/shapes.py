"""The one shape check of the interfaces."""

from collections.abc import Collection

from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError


def check_shape(
    who: str, name: str, value: Tensor, shape: Shape, *, free: Collection[int] = ()
) -> None:
    """Refuse a tensor that is not ``(batch, *shape)``.

    Args:
        who: The part that speaks.
        name: What the tensor is called.
        value: The tensor.
        shape: Its shape without the batch.
        free: Axes of ``shape`` that may have any length (the number of points of a cloud).

    Raises:
        ShapeError: If it has another shape.
    """
    got = tuple(value.shape)
    if got[1:] == shape and got:
        return
    if len(got) == len(shape) + 1 and all(
        i in free or got[i + 1] == n for i, n in enumerate(shape)
    ):
        return
    want = ", ".join("any" if i in free else str(n) for i, n in enumerate(shape))
    raise ShapeError(
        f"{who}: {name} must have shape (batch{', ' if want else ''}{want}), got {got}."
    )
