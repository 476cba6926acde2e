"""A perceptron of residual blocks, which a context gates."""

import math

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.interfaces.network import Network
from corekit.nn.activation import Activation, make_activation
from corekit.nn.mlp import zero
from corekit_realnvp.made import nearly_zero


class ResidualMlp(Network):
    r"""A linear layer, residual blocks, and a linear layer, over everything flattened.

    .. math::
        h = W_0 (x, c) + b_0, \qquad
        h \leftarrow h + \bigl(B\, a(A\, a(h))\bigr) \odot \sigma(C c), \qquad y = W_1 h + b_1

    Each linear map has a bias, too; without a context there is no gate. A new block is close to the
    identity.

    Args:
        in_shape: Shape of the input.
        out_shape: Shape of the output.
        context_shape: Shape of a context, which is put beside the input and gates each block; or
            None.
        hidden: Width of all layers.
        blocks: Number of blocks, of two layers each.
        activation: a: relu, silu, gelu, tanh, elu or leaky_relu.
        zero_last: Whether a new network gives zeros.

    Shape: x ``(B, *in_shape)``, context ``(B, *context_shape)``; output ``(B, *out_shape)``.
    Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016,
        https://arxiv.org/abs/1603.05027; as the conditioner of couplings: Durkan et al., Neural
        Spline Flows, NeurIPS 2019, appendix B, https://arxiv.org/abs/1906.04032.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: int = 128,
        blocks: int = 2,
        activation: Activation = "relu",
        zero_last: bool = True,
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        size = 0 if context_shape is None else math.prod(context_shape)
        self.first = nn.Linear(math.prod(in_shape) + size, hidden)
        self.blocks = nn.ModuleList(Block(hidden, size, activation) for _ in range(blocks))
        self.last = nn.Linear(hidden, math.prod(out_shape))
        if zero_last:
            zero(self.last)

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        flat = None if context is None else context.flatten(1)
        h = self.first(x.flatten(1) if flat is None else torch.cat((x.flatten(1), flat), dim=1))
        for block in self.blocks:
            h = block(h, flat)
        return self.last(h)


class Block(nn.Module):
    """h + (two layers of h), the sum gated by a context.

    Args:
        hidden: Width.
        context: Width of the context; 0 for none.
        activation: In front of each layer.
    """

    def __init__(self, hidden: int, context: int, activation: Activation) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        self.activation = make_activation(activation)
        nearly_zero(self.layers[1])
        if context:
            self.gate = nn.Linear(context, hidden)

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        """Apply it."""
        inner, outer = self.layers
        added: Tensor = outer(self.activation(inner(self.activation(h))))
        return h + (added if context is None else added * torch.sigmoid(self.gate(context)))
