"""A plain multilayer perceptron."""

from collections.abc import Callable, Sequence

from torch import nn


def mlp(
    features: int,
    out_features: int,
    hidden: Sequence[int],
    activation: Callable[[], nn.Module] = nn.SiLU,
) -> nn.Sequential:
    """Linear layers with an activation between them; linear if ``hidden`` is empty."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(features, width), activation()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, out_features))
