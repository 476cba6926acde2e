"""Activations by name."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from corekit.errors import UsageError

Activation = Literal["relu", "silu", "gelu", "tanh", "elu", "leaky_relu"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}


def make_activation(name: str) -> nn.Module:
    """A module of this name.

    Raises:
        UsageError: If there is none.
    """
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise UsageError(f"network: activation must be one of {known}, got {name!r}.")
    return ACTIVATIONS[name]()
