"""How far a flow is invertible in floating-point numbers, layer by layer."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.flows.compose import Chain
from corekit.flows.mixing import Mixing
from corekit.flows.multiscale import Split
from corekit.interfaces.bijector import Bijector

_DENSE = 256
"""Numbers of an event up to which the whole Jacobian is made."""

_ITERATIONS = 50

_ROWS = 4096
"""Rows that one pass of a dense Jacobian has at most: one for each number of each event."""


class LayerHealth(NamedTuple):
    """What was measured of one layer.

    Attributes:
        path: Where it is: ``2.of.0`` is the first member of what follows the split at place 2.
        name: Its class.
        round_trip: Largest ``|x - inverse(forward(x))|``; NaN if it has no inverse.
        smallest_singular_value: Of dz/dx, over all rows. What an error of z becomes, an error of x,
            is at most the error over this. NaN where it is not known.
        condition: Condition number of the matrix of a `Mixing`, largest over smallest singular
            value: how many times larger a relative error can become. NaN for other layers.
    """

    path: str
    name: str
    round_trip: float
    smallest_singular_value: float
    condition: float = math.nan


def invertibility(
    bijector: Bijector, x: Tensor, context: Tensor | None = None, *, estimate: bool = True
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
        estimate: Whether singular values are estimated at all, which takes a hundred passes.
    """
    layers = [
        _measured(path, layer, value, given, estimate)
        for path, layer, value, given in _walk("", bijector, x, context)
    ]
    whole = [_measured("", bijector, x, context, estimate)] if len(layers) > 1 else []
    return [*layers, *whole]


@torch.no_grad()
def level_errors(bijector: Bijector, x: Tensor, context: Tensor | None = None) -> list[float]:
    """Largest round-trip error of the flow from each of its levels on, the first one first.

    Level i of a flow of several scales is what its i-th `Split` leaves over: the error is that of
    the numbers that enter it, which go through all levels below and back. The first is the error
    of the whole flow, in units of x.

    Args:
        bijector: In eval mode, with an inverse.
        x: A few rows of data.
        context: Of these rows.
    """
    return [_round_trip(part, value, given) for part, value, given in _levels(bijector, x, context)]


@torch.no_grad()
def condition_number(mixing: Mixing) -> float:
    """Largest over smallest singular value of its matrix, in float64; infinite if one is 0."""
    on_mps = next(mixing.parameters()).device.type == "mps"
    values = torch.linalg.svdvals(mixing.matrix(torch.float32 if on_mps else torch.float64))
    smallest = values[-1].item()
    return values[0].item() / smallest if smallest else math.inf


def smallest_singular_value(
    bijector: Bijector, x: Tensor, context: Tensor | None = None, *, estimate: bool = True
) -> Tensor:
    """The smallest singular value of dz/dx at each row, ``(B,)``; NaN where it is not known."""
    if not bijector.rows_coupled:
        if math.prod(bijector.event_shape) <= _DENSE:
            return _of_jacobian(bijector, x, context)
        if estimate and bijector.has_inverse and "inverse" not in bijector.iterative:
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


def _measured(
    path: str, layer: Bijector, x: Tensor, context: Tensor | None, estimate: bool
) -> LayerHealth:
    given = context if layer.context_shape is not None else None
    with torch.no_grad():
        error = _round_trip(layer, x, given)
    values = smallest_singular_value(layer, x, given, estimate=estimate)
    smallest = values.min().item() if len(values) else math.nan
    condition = condition_number(layer) if isinstance(layer, Mixing) else math.nan
    return LayerHealth(path or "all", type(layer).__name__, error, smallest, condition)


def _round_trip(layer: Bijector, x: Tensor, context: Tensor | None) -> float:
    """Largest error of a number that goes there and back; NaN without an inverse or a row."""
    if not layer.has_inverse or not len(x):
        return math.nan
    back, _ = layer.inverse(layer(x, context)[0], context)
    return (back - x).abs().nan_to_num(nan=math.inf).max().item()


def _levels(
    bijector: Bijector, x: Tensor, context: Tensor | None
) -> Iterator[tuple[Bijector, Tensor, Tensor | None]]:
    """The flow from each level on, with what reaches it."""
    given = context if bijector.context_shape is not None else None
    yield bijector, x, given
    last = bijector
    while isinstance(last, Chain):
        *members, end = last
        for member in members:
            x = member(x, context if member.context_shape is not None else None)[0]
        last = end
    if isinstance(last, Split):
        yield from _levels(last.of, last.parts.split(x)[0], context)


def _of_jacobian(bijector: Bijector, x: Tensor, context: Tensor | None) -> Tensor:
    """From one copy of a row for each of its D numbers: row i of the Jacobian is copy i's."""
    numbers = math.prod(bijector.event_shape)
    found = []
    for rows in torch.arange(len(x), device=x.device).split(max(1, _ROWS // numbers)):
        with torch.enable_grad():
            copies = x[rows].detach().repeat_interleave(numbers, 0).requires_grad_()
            given = None if context is None else context[rows].repeat_interleave(numbers, 0)
            z = bijector(copies, given)[0].reshape(len(rows), numbers, numbers)
            (jacobian,) = torch.autograd.grad(z.diagonal(dim1=1, dim2=2).sum(), copies)
        jacobian = jacobian.reshape(len(rows), numbers, numbers).double()
        found.append(torch.linalg.svdvals(jacobian)[:, -1])
    return torch.cat(found) if found else x.new_zeros(0, dtype=torch.float64)


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
