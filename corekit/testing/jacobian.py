"""Log-determinants by brute force."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corekit.interfaces.bijector import Bijector
from corekit.testing.exercise import Tensors


def autograd_logdet(part: Bijector, inputs: Tensors) -> Tensor:
    """log|det dz/dx| of each row, ``(B,)``, by brute force."""
    size = math.prod(part.event_shape)
    values = []
    for row, x in enumerate(inputs["x"]):
        context = inputs["context"][row : row + 1] if "context" in inputs else None

        def flat(v: Tensor, context: Tensor | None = context) -> Tensor:
            return part(v.reshape(1, *part.event_shape), context)[0].reshape(-1)

        jacobian = torch.autograd.functional.jacobian(flat, x.reshape(size))
        values.append(torch.linalg.slogdet(jacobian)[1])
    return torch.stack(values).detach()


def opposite(got: Tensor, want: Tensor) -> bool:
    """Whether a number has the wrong sign and nothing else."""
    return bool((got + want).abs().max() < 1e-6 < want.abs().max())
