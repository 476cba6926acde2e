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


def check_context(who: str, context: Tensor | None, shape: Shape | None, rows: int) -> None:
    """Refuse a context that is missing, not taken, of another shape or of other rows.

    Raises:
        ShapeError: Which of them.
    """
    if (context is None) != (shape is None):
        rule = "needs a context, got None" if context is None else "takes no context, got one"
        raise ShapeError(f"{who}: {rule}. Its context_shape is {shape}.")
    if context is not None and shape is not None:
        check_shape(who, "context", context, shape)
        if context.shape[0] != rows:
            raise ShapeError(
                f"{who}: context must have {rows} rows, one per row of the input, got "
                f"{context.shape[0]}."
            )
