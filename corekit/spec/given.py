"""How wide the vector of a condition is. No torch here: a spec asks before anything is built."""

from collections.abc import Mapping
from math import prod

from corekit.data_spec import Shape
from corekit.errors import ShapeError


def chosen_of(
    shapes: Mapping[str, Shape], classes: int | None, embed: object | None
) -> dict[str, Shape]:
    """The conditions that are told, in the order of the vector: labels, image, vector.

    Args:
        shapes: Of the conditions that the data have.
        classes: Number of classes, where labels are to be told.
        embed: What turns the image, or else the vector, into a vector; None if nothing does.

    Raises:
        ShapeError: If the data have none of them, or not what is asked for.
    """
    wanted = {"labels": classes is not None, "image": embed is not None, "vector": True}
    found = {name: tuple(shapes[name]) for name, told in wanted.items() if told and name in shapes}
    lacking = (classes is not None and "labels" not in found) or (
        embed is not None and not {"image", "vector"} & set(found)
    )
    if not found or lacking:
        raise ShapeError(
            "LatentModel: a conditional model must have labels with `classes`, an image with "
            f"`embed`, or a vector, got data with the conditions {', '.join(shapes) or 'none'}, "
            f"classes {classes} and {'no' if embed is None else 'an'} embedding."
        )
    return found


def embedded_of(chosen: Mapping[str, Shape]) -> str:
    """Which of them an embedding is of: the image, or else the vector."""
    return "image" if "image" in chosen else "vector"


def width_of(chosen: Mapping[str, Shape], classes: int | None, embedded: Shape | None) -> int:
    """Numbers of the vector: of the one-hot class, of what is embedded, of the plain vector."""
    plain = {name: shape for name, shape in chosen.items() if name == "vector"}
    if embedded is not None:
        plain.pop(embedded_of(chosen), None)
    return (classes or 0) + prod(embedded or (0,)) + sum(map(prod, plain.values()))


def widened(latent: Shape, more: int) -> Shape:
    """The shape of a latent with a vector behind it.

    Raises:
        ShapeError: If the latent is none itself.
    """
    if len(latent) != 1:
        raise ShapeError(
            "LatentModel: the latent of a conditional decoder must be a vector, got shape "
            f"{tuple(latent)}. Make the prior alone conditional."
        )
    return (latent[0] + more,)
