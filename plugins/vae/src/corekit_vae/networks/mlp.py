"""Multilayer perceptrons."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.interfaces.observation import Observation
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.nn.activation import Activation, make_activation
from corekit.nn.mlp import mlp
from corekit_vae.network_decoder import NetworkDecoder
from corekit_vae.network_encoder import NetworkEncoder
from corekit_vae.posteriors.diagonal import DiagonalGaussianHead


class MlpEncoder(NetworkEncoder):
    """A posterior on the last hidden layer of a perceptron over data of any shape, flattened.

    Args:
        event_shape: Shape of x without the batch.
        latent_dim: Size of the latent.
        hidden: Width of each hidden layer; empty for a linear encoder.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        posterior: Factory of the posterior.
        condition_width: Numbers of the condition, which stand behind the data.

    Shape: x ``(B, *event_shape)``; z ``(B, latent_dim)``.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        latent_dim: int = 16,
        hidden: Sequence[int] = (512,),
        activation: Activation = "relu",
        posterior: Callable[..., PosteriorHead] = DiagonalGaussianHead,
        condition_width: int = 0,
    ) -> None:
        super().__init__(event_shape, (latent_dim,), posterior, condition_width=condition_width)
        size = math.prod(event_shape) + condition_width
        widths = (size, *hidden)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), make_activation(activation)]
        self.layers = nn.Sequential(*layers)
        self.finish((widths[-1],))

    def features(self, x: Tensor, told: Tensor | None) -> Tensor:
        """The last hidden layer."""
        x = x.flatten(1)
        return self.layers(x if told is None else torch.cat((x, told), dim=1))


class MlpDecoder(NetworkDecoder):
    """A likelihood on what a perceptron makes of the latent, for data of any shape.

    Args:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch.
        likelihood: Factory of the likelihood.
        hidden: Width of each hidden layer, from the latent to the data; empty for a linear decoder.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.

    Shape: z ``(B, *latent_shape)``; x ``(B, *event_shape)``.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        *,
        likelihood: Callable[..., Observation],
        hidden: Sequence[int] = (512,),
        activation: Activation = "relu",
    ) -> None:
        super().__init__(event_shape, latent_shape, likelihood)
        out = math.prod(self.likelihood.parameter_shape)
        act = partial(make_activation, activation)
        self.layers = mlp(math.prod(latent_shape), out, hidden, act)

    def parameters_of(self, z: Tensor) -> Tensor:
        """The last layer, in the shape that the likelihood wants."""
        return self.layers(z.flatten(1)).unflatten(1, self.likelihood.parameter_shape)
