"""The Quantizer interface: from vectors to codes of a finite set, and back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.shapes import check_shape


class Quantized(NamedTuple):
    """A latent brought to codes.

    Shape:
        - z: ``(B, *latent_shape)``, the vectors of the codes, with the gradient of what went in
        - codes: ``(B, *codes_shape)``, int64
        - loss: ``(B,)``, what training adds to pull latents and codes together
        - terms: what the loss is made of, ``(B,)`` each
        - statistics: numbers over the batch worth logging, ``()`` each
        - seen: what the quantizer learns from at the end of the step (``observe``), or None
    """

    z: Tensor
    codes: Tensor
    loss: Tensor
    terms: Mapping[str, Tensor] = {}
    statistics: Mapping[str, Tensor] = {}
    seen: tuple[Tensor, Tensor] | None = None


class Quantizer(nn.Module, ABC):
    """A map from latents to codes 0 ... levels - 1, and from codes to the latents they stand for.

    **Implement one.** Take ``latent_shape`` first in the constructor: ``(D, *places)``, a vector of
    D numbers at each place. Set ``codes_shape`` and ``levels``, and write ``_quantize`` and
    ``_vectors``. One that learns without gradients writes ``observe``, too, which the trainer calls
    once per step with what ``seen`` held in all processes, one behind the other.

    Attributes:
        latent_shape: Shape of what is quantized, without the batch.
        codes_shape: Shape of the codes of one example.
        levels: Number of different codes.
        rows_coupled: Whether the loss of a row depends on the others in its batch.
    """

    latent_shape: Shape
    codes_shape: Shape
    levels: int
    rows_coupled: bool = False

    def __init__(self, latent_shape: Shape) -> None:
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        self.codes_shape = self.latent_shape[1:] or (1,)

    def forward(self, z: Tensor) -> Quantized:
        """Codes of z, and the vectors that they stand for."""
        check_shape(type(self).__name__, "z", z, self.latent_shape)
        return self._quantize(z)

    def vectors(self, codes: Tensor) -> Tensor:
        """What codes stand for, ``(B, *latent_shape)``."""
        check_shape(type(self).__name__, "codes", codes, self.codes_shape)
        return self._vectors(codes)

    @hands_on
    def initialize(self, z: Tensor) -> None:
        """Start the codes from latents of data; by default nothing."""

    @abstractmethod
    def _quantize(self, z: Tensor) -> Quantized: ...

    @abstractmethod
    def _vectors(self, codes: Tensor) -> Tensor: ...


def straight_through(z: Tensor, quantized: Tensor) -> Tensor:
    """The value of one with the gradient of the other: rounding has none of its own."""
    return z + (quantized - z).detach()
