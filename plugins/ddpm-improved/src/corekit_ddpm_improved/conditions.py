"""Which conditions a network takes of those that the data have."""

from collections.abc import Mapping

from corekit.data_spec import Shape
from corekit.errors import ShapeError


def taken(
    who: str, given: Mapping[str, Shape], classes: int | None, names: tuple[str, ...]
) -> dict[str, Shape]:
    """The conditions that a network takes: those of ``names``, labels only if it has classes.

    Args:
        who: The network.
        given: name -> shape, of the data.
        classes: Its number of classes, None if labels are nothing to it.
        names: What it could take.

    Raises:
        ShapeError: If it has classes but the data have no labels.
    """
    if classes is not None and "labels" not in given:
        known = ", ".join(given) or "none"
        raise ShapeError(
            f"{who}: classes must meet the condition 'labels', got {classes} and the conditions "
            f"{known}. Let the data give labels, or leave classes out."
        )
    found = {name: tuple(shape) for name, shape in given.items() if name in names}
    if classes is None:
        found.pop("labels", None)
    return found
