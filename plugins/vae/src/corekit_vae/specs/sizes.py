"""How large the images inside a network are. No torch here: a spec asks first."""

from __future__ import annotations

from corekit.data_spec import Shape
from corekit.errors import ShapeError


def check_image(who: str, event_shape: Shape) -> None:
    """Refuse data that are no images.

    Raises:
        ShapeError: If the shape is not (channels, height, width).
    """
    if len(event_shape) != 3 or min(event_shape) < 1:
        raise ShapeError(
            f"{who}: the event must be an image (channels, height, width), got "
            f"{tuple(event_shape)}. Use vae.mlp for other data."
        )


def halvings(size: Shape, times: int) -> list[Shape]:
    """Heights and widths from the data down, each half of the one before it, rounded up.

    That is what a convolution of 3 x 3 with a stride of 2 and a border of 1 makes. No size is too
    small: a half of 1 is 1.

    Example:
        >>> halvings((28, 5), 3)
        [(28, 5), (14, 3), (7, 2), (4, 1)]
    """
    sizes = [tuple(size)]
    for _ in range(times):
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    return sizes


def floors(who: str, size: Shape, times: int) -> list[Shape]:
    """The same, rounded down.

    Raises:
        ShapeError: If nothing is left of one.
    """
    sizes = [tuple(size)]
    for _ in range(times):
        sizes.append(tuple(n // 2 for n in sizes[-1]))
    if min(sizes[-1]) < 1:
        raise ShapeError(
            f"{who}: height and width must be at least {2**times} for {times + 1} widths, got "
            f"{tuple(size)}. Give fewer widths."
        )
    return sizes


def asked_latent(
    who: str, features: Shape, latent_dim: int | None, latent_channels: int | None
) -> Shape:
    """A vector of latent_dim, or an image of latent_channels as large as the features.

    Raises:
        ShapeError: If both are asked for.
    """
    if latent_channels is None:
        return (128 if latent_dim is None else latent_dim,)
    if latent_dim is not None:
        raise ShapeError(
            f"{who}: latent_dim must be left out with latent_channels, got {latent_dim} and "
            f"{latent_channels}. The latent is a vector or an image."
        )
    return (latent_channels, *features[1:])


def check_grid(who: str, latent_shape: Shape, size: Shape) -> None:
    """Refuse a latent that is no image of this height and width.

    Raises:
        ShapeError: If it is another one, or a vector.
    """
    if tuple(latent_shape[1:]) != tuple(size):
        raise ShapeError(
            f"{who}: the latent must be an image of {tuple(size)}, got shape "
            f"{tuple(latent_shape)}. Give encoder and decoder the same widths."
        )
