"""One step of Glow: ActNorm, a mixing of channels, a coupling."""

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain, Factory
from corekit.flows.mixing import Mixing, mixed, positions
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.interfaces.frozen import Derived


class FlowStep(Derived, Chain):
    r"""ActNorm, a mixing of the channels and a coupling, as three members of a chain.

    Where the mixing is a matrix W, ActNorm is folded into it, one convolution instead of three
    passes over the pixels:

    .. math:: W\,((x + b)\, e^{\ell}) = (W\, diag(e^{\ell}))\, x + W\, diag(e^{\ell})\, b

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of the context of the coupling, or None.
        actnorm, mixing, coupling: Factories of the members.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.
    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, figure 2, https://arxiv.org/abs/1807.03039.
    """

    recompute = None  # as a whole: what is kept is one input

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        actnorm: Factory = ActNorm,
        mixing: Factory,
        coupling: Factory,
    ) -> None:
        super().__init__(event_shape, context_shape, of=[actnorm, mixing, coupling])

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        norm, mixing, coupling = self
        if not (isinstance(norm, ActNorm) and isinstance(mixing, Mixing)):
            return super()._forward(x, context)
        x, dtype = _laid_out(x), logdet_dtype(x)

        def folded() -> tuple[Tensor, Tensor, Tensor]:
            log_scale = norm.log_scale.to(dtype).flatten()
            weight = mixing.matrix(dtype) * log_scale.exp()
            bias = weight @ norm.shift.to(dtype).flatten()
            if mixing.bias is not None:
                bias = bias + mixing.bias.to(dtype).flatten()
            return weight, bias, self._log_det(log_scale, mixing, dtype)

        weight, bias, own = self.derived(f"forward in {dtype}", folded, *self._of(norm, mixing))
        z, logdet = coupling(mixed(x, weight, _like(bias, x)), context)
        return z, logdet + own

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        norm, mixing, coupling = self
        if not (isinstance(norm, ActNorm) and isinstance(mixing, Mixing)):
            return super()._inverse(z, context)
        y, logdet = coupling.inverse(_laid_out(z), context)
        dtype = logdet_dtype(y)

        def folded() -> tuple[Tensor, Tensor, Tensor]:
            log_scale = norm.log_scale.to(dtype).flatten()
            weight = mixing.inverse_matrix(dtype) * (-log_scale).exp()[:, None]
            bias = -norm.shift.to(dtype).flatten()
            if mixing.bias is not None:
                bias = bias - weight @ mixing.bias.to(dtype).flatten()
            return weight, bias, self._log_det(log_scale, mixing, dtype)

        weight, bias, own = self.derived(f"inverse in {dtype}", folded, *self._of(norm, mixing))
        return mixed(y, weight, _like(bias, y)), logdet - own

    def _of(self, *parts: Bijector) -> tuple[Tensor, ...]:
        """What a folded matrix is computed from."""
        return tuple(t for part in parts for t in (*part.parameters(), *part.buffers()))

    def _log_det(self, log_scale: Tensor, mixing: Mixing, dtype: torch.dtype) -> Tensor:
        return (log_scale.sum() + mixing.log_abs_det(dtype)) * positions(self.event_shape)


def _like(bias: Tensor, x: Tensor) -> Tensor:
    """One number per channel, in the shape and dtype that a convolution adds."""
    return bias.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 2))


def _laid_out(x: Tensor) -> Tensor:
    """An image as CPUs convolve it fastest: channels last in memory. Values are the same."""
    if x.ndim == 4 and x.device.type == "cpu":
        return x.contiguous(memory_format=torch.channels_last)
    return x
