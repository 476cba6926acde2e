"""Finite scalar quantization: every number of a latent is rounded by itself."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.precision import wide
from corekit.interfaces.quantizer import Quantized, Quantizer, straight_through
from corekit_vae.quantizers.usage import counts_of, usage

_MARGIN = 1e-3


class FiniteScalarQuantizer(Quantizer):
    r"""Each of D numbers is squeezed into an interval and rounded to one of L_d values.

    .. math::
        u_d = h_d \tanh(z_d + s_d) - o_d, \quad h_d = 1.001\, \tfrac{L_d - 1}{2}, \qquad
        q_d = round(u_d) / \lfloor L_d / 2 \rfloor

    There are prod L_d codes, no codebook, and no loss: nothing collapses. o is 1/2 for even L_d,
    whose values are not symmetric, and s lets z = 0 be the value 0.

    Args:
        latent_shape: ``(D, *places)``, D numbers as there are in ``values``.
        values: L_d of each number, at least 2.

    Shape: z ``(B, D, *places)``; codes ``(B, *places)``, int64; loss ``(B,)``, zeros.

    Raises:
        ShapeError: If D is not the number of ``values``.

    Source: Mentzer et al., Finite Scalar Quantization, ICLR 2024, sec. 3,
        https://arxiv.org/abs/2309.15505.
    """

    sizes: Tensor
    bases: Tensor

    def __init__(self, latent_shape: Shape, *, values: Sequence[int] = (8, 5, 5, 5)) -> None:
        super().__init__(latent_shape)
        if min(values, default=0) < 2:
            raise UsageError(
                f"FiniteScalarQuantizer: values must be at least 2 each, got {list(values)}."
            )
        if len(values) != latent_shape[0]:
            raise ShapeError(
                f"FiniteScalarQuantizer: the latent must have {len(values)} channels, one for each "
                f"of the values {list(values)}, got {latent_shape[0]}. Set latent_channels of the "
                "encoder."
            )
        self.levels = math.prod(values)
        bases = [math.prod(values[:i]) for i in range(len(values))]
        self.register_buffer("sizes", torch.tensor(values), persistent=False)
        self.register_buffer("bases", torch.tensor(bases), persistent=False)

    def _quantize(self, z: Tensor) -> Quantized:
        sizes = self._beside(self.sizes, z)
        half = (sizes - 1).to(z) * (1 + _MARGIN) / 2
        offset = torch.where(sizes % 2 == 0, 0.5, 0.0).to(z)
        squeezed = half * (z + torch.atanh(offset / half)).tanh() - offset
        steps = squeezed.detach().round()
        width = (sizes // 2).to(z)
        quantized = straight_through(squeezed, steps) / width
        codes = self._codes(steps)
        statistics = usage(counts_of(codes, self.levels))
        return Quantized(quantized, codes, wide(z.new_zeros(len(z))), {}, statistics)

    def _codes(self, steps: Tensor) -> Tensor:
        sizes, bases = self._beside(self.sizes, steps), self._beside(self.bases, steps)
        whole = (steps + sizes // 2).to(torch.int64) * bases.to(torch.int64)
        return whole.sum(1).reshape(len(steps), *self.codes_shape)

    def _vectors(self, codes: Tensor) -> Tensor:
        flat = codes.reshape(len(codes), 1, *self.latent_shape[1:])
        sizes, bases = self._beside(self.sizes, flat), self._beside(self.bases, flat)
        steps = flat // bases % sizes - sizes // 2
        return steps.to(torch.get_default_dtype()) / (sizes // 2)

    def _beside(self, numbers: Tensor, z: Tensor) -> Tensor:
        """One number per channel, in the shape that goes with z."""
        return numbers.reshape(1, -1, *(1,) * (z.ndim - 2))
