"""How far a flow is invertible in floating-point numbers, layer by layer."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.flows.compose import Chain
from corekit.flows.multiscale import Split
from corekit.interfaces.bijector import Bijector

_DENSE = 256
"""Numbers of an event up to which the whole Jacobian is made."""

_ITERATIONS = 50


class LayerHealth(NamedTuple):
    """What was measured of one layer.

    Attributes:
        path: Where it is: ``2.of.0`` is the first member of what follows the split at place 2.
        name: Its class.
        round_trip: Largest ``|x - inverse(forward(x))|``; NaN if it has no inverse.
        smallest_singular_value: Of dz/dx, over all rows. What an error of z becomes, an error of x,
            is at most the error over this. NaN where it is not known.
    """

    path: str
    name: str
    round_trip: float
    smallest_singular_value: float


def invertibility(
    bijector: Bijector, x: Tensor, context: Tensor | None = None
) -> list[LayerHealth]:
    """Round-trip error and smallest singular value of each layer, and last of the whole.

    A logarithm of a determinant can be right where the map cannot be inverted: one direction is
    squeezed to nothing, another stretched. Above 256 numbers the singular value is estimated from
    50 power iterations through the inverse: it is then an upper bound, and NaN where the inverse is
    found by iteration.

    Args:
        bijector: In eval mode.
        x: A few rows of data ``(B, *event_shape)``; each layer sees what those before it make.
        context: Of these rows.
    """
    layers = [
        _measured(path, layer, value, given)
        for path, layer, value, given in _walk("", bijector, x, context)
    ]
    return [*layers, _measured("", bijector, x, context)] if len(layers) > 1 else layers


def smallest_singular_value(bijector: Bijector, x: Tensor, context: Tensor | None = None) -> Tensor:
    """The smallest singular value of dz/dx at each row, ``(B,)``; NaN where it is not known."""
    if not bijector.rows_coupled:
        if math.prod(bijector.event_shape) <= _DENSE:
            return _of_jacobian(bijector, x, context)
        if bijector.has_inverse and "inverse" not in bijector.iterative:
            return _by_power_iteration(bijector, x, context)
    return x.new_full((len(x),), math.nan)


def _walk(
    path: str, bijector: Bijector, x: Tensor, context: Tensor | None
) -> Iterator[tuple[str, Bijector, Tensor, Tensor | None]]:
    """Every layer that is not made of others, with what reaches it."""
    given = context if bijector.context_shape is not None else None
    if isinstance(bijector, Chain):
        for place, member in enumerate(bijector):
            yield from _walk(f"{path}.{place}".lstrip("."), member, x, given)
            with torch.no_grad():
                x = member(x, given if member.context_shape is not None else None)[0]
        return
    yield path, bijector, x, given
    if isinstance(bijector, Split):
        kept, _ = bijector.parts.split(x)
        yield from _walk(f"{path}.of".lstrip("."), bijector.of, kept, given)


def _measured(path: str, layer: Bijector, x: Tensor, context: Tensor | None) -> LayerHealth:
    error = math.nan
    given = context if layer.context_shape is not None else None
    if layer.has_inverse and len(x):
        with torch.no_grad():
            back, _ = layer.inverse(layer(x, given)[0], given)
        error = (back - x).abs().nan_to_num(nan=math.inf).max().item()
    values = smallest_singular_value(layer, x, given)
    smallest = values.min().item() if len(values) else math.nan
    return LayerHealth(path or "all", type(layer).__name__, error, smallest)


def _of_jacobian(bijector: Bijector, x: Tensor, context: Tensor | None) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        z = bijector(x, context)[0].flatten(1)
        rows = [torch.autograd.grad(z_i.sum(), x, retain_graph=True)[0] for z_i in z.unbind(1)]
    jacobian = torch.stack([row.flatten(1) for row in rows], dim=1).double()
    return torch.linalg.svdvals(jacobian)[:, -1]


def _by_power_iteration(bijector: Bijector, x: Tensor, context: Tensor | None) -> Tensor:
    """1 over the largest singular value of dx/dz, by its products with vectors."""
    with torch.no_grad():
        z = bijector(x, context)[0]
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        back = bijector.inverse(z, context)[0]
        # A gradient is linear in what comes in, so its own gradient is the product J v.
        probe = torch.zeros_like(back, requires_grad=True)
        (pulled,) = torch.autograd.grad(back, z, probe, create_graph=True)
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(z.shape, generator=generator).to(z)
    size = torch.ones(len(z), dtype=z.dtype, device=z.device)
    for _ in range(_ITERATIONS):
        v = v / v.flatten(1).norm(dim=1).reshape(-1, *(1,) * (v.ndim - 1))
        (pushed,) = torch.autograd.grad(pulled, probe, v, retain_graph=True)
        (v,) = torch.autograd.grad(back, z, pushed, retain_graph=True)
        size = pushed.flatten(1).norm(dim=1)
    return 1 / size.double()
