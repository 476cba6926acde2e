"""The Network interface: what computes the parameters of a layer."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.shapes import check_context, check_shape


class Network(nn.Module, ABC):
    """A network from one shape to another: the conditioner of a coupling, for instance.

    **Implement one.** Take ``in_shape``, ``out_shape`` and ``context_shape`` first in the
    constructor and write ``_forward``. What stands in front of the axes that input and output share
    are channels: a convolution from ``(3, 8, 8)`` to ``(2, 3, 8, 8)`` has 3 channels in, 6 out.

    Attributes:
        in_shape: Shape of the input without the batch.
        out_shape: Shape of the output without the batch.
        context_shape: Shape of the context, or None if it takes none.
        autoregressive: Whether output element i depends only on input elements of a lower ``rank``,
            a buffer ``in_shape``, of which there are ``rounds``; then ``out_shape`` is
            ``(P, *in_shape)``.

    Shape: x ``(B, *in_shape)``, context ``(B, *context_shape)``; output ``(B, *out_shape)``.

    Raises:
        ShapeError: If a tensor has another shape.
    """

    in_shape: Shape
    out_shape: Shape
    context_shape: Shape | None = None
    autoregressive: bool = False
    rank: Tensor
    rounds: int

    def __init__(self, in_shape: Shape, out_shape: Shape, context_shape: Shape | None) -> None:
        super().__init__()
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The output for each row."""
        check_shape(type(self).__name__, "x", x, self.in_shape)
        check_context(type(self).__name__, context, self.context_shape, x.shape[0])
        return self._forward(x, context).reshape(x.shape[0], *self.out_shape)

    @hands_on
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set data-dependent parameters from the whole init set, once. By default there are none.

        A layer that owns a network calls it in its own ``initialize``. Compute with a few rows at a
        time (`INIT_ROWS`): hidden layers are wider than data.
        """

    @abstractmethod
    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor: ...
