"""Multilayer perceptrons."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.network import Network
from corekit.nn.activation import Activation, make_activation
from corekit.nn.spectral import SpectralLinear


def mlp(
    features: int,
    out_features: int,
    hidden: Sequence[int],
    activation: Callable[[], nn.Module] = nn.SiLU,
    linear: Callable[[int, int], nn.Linear] = nn.Linear,
) -> nn.Sequential:
    """Linear layers with an activation between them; linear if ``hidden`` is empty."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [linear(features, width), activation()]
        features = width
    return nn.Sequential(*layers, linear(features, out_features))


class Mlp(Network):
    """A multilayer perceptron over everything that it is given, flattened.

    Args:
        in_shape: Shape of the input.
        out_shape: Shape of the output.
        context_shape: Shape of a context, which is put beside the input; or None.
        hidden: Width of each hidden layer.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        zero_last: Whether a new network gives zeros, so that the layer around it starts where
            parameters of zero say.
        spectral_norm: Whether the weights of each layer are divided by their largest singular value
            (`corekit.nn.spectral`). Weights of zero have none: with ``zero_last`` false only.

    Raises:
        UsageError: If the last layer were zero and had to be divided.

    Shape: x ``(B, *in_shape)``, context ``(B, *context_shape)``; output ``(B, *out_shape)``.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: Sequence[int] = (128, 128),
        activation: Activation = "relu",
        zero_last: bool = True,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        if spectral_norm and zero_last:
            raise UsageError(
                "Mlp: zero_last must be false with spectral_norm, got true. Weights of zero cannot "
                "be divided by their largest singular value."
            )
        features = math.prod(in_shape) + math.prod(context_shape or (0,))
        self.layers = mlp(
            features,
            math.prod(out_shape),
            hidden,
            lambda: make_activation(activation),
            SpectralLinear if spectral_norm else nn.Linear,
        )
        if zero_last:
            zero(self.layers[-1])

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        x = x.flatten(1)
        return self.layers(x if context is None else torch.cat((x, context.flatten(1)), dim=1))


def zero(layer: nn.Module) -> None:
    """Set weight and bias of a layer to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
