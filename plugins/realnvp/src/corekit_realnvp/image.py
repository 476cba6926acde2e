"""RealNVP for images: stacks of couplings, pixels squeezed into channels, one scale or several."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain, Factory, Inverse
from corekit.flows.multiscale import Split
from corekit.flows.partition import Split as Kept
from corekit.flows.squeeze import Flatten, Squeeze
from corekit_realnvp.resnet import ResNet
from corekit_realnvp.tanh_coupling import Per, TanhCoupling

Masks = Literal["checkerboard", "halves"]
Norms = Literal["between", "all", "none"]


class RealNvpImage(Chain):
    """The layers of RealNVP on images of any size.

    ============  ==============================================================================
    of one scale  checkerboard x 4, squeeze, channels x 3, unsqueeze, checkerboard x 3
    of several    at each but the last: checkerboard x 4, squeeze, channels x 3, half leaves;
                  at the last: checkerboard x 3
    bad masks     halves of the picture: upper, lower, left, right, twice; for comparison
    ============  ==============================================================================

    Each coupling is a `TanhCoupling` with a `ResNet`, whose kept part alternates: pixels with an
    even sum of row and column first; of channels, the second half first. A stack has an ActNorm
    between its couplings. A new flow is the identity until ActNorm has seen data.

    Args:
        event_shape: ``(C, H, W)``; H and W even, with several scales multiples of 2^(scales - 1).
        context_shape: Shape of a context that every network sees, or None.
        filters: Channels inside a network.
        blocks: Residual blocks of a network.
        checkers: Couplings of the first and of the last checkerboard stack.
        channels: Couplings of a channel stack.
        actnorm: between the couplings of a stack (as the code of the original has it), after all
            of them (as its text says), or none.
        scale: Of the couplings: one factor per channel, or one for all.
        masks: checkerboard, or halves of the picture.
        scales: 1, or more with half of the channels leaving after each but the last; then z is one
            vector.

    Shape: x ``(B, C, H, W)``, z the same, or ``(B, C H W)`` of several scales; logdet ``(B,)``.

    Raises:
        ShapeError: If the event is no image, or its sides cannot be halved so often.
        UsageError: If an option is unknown or out of range.

    Source: Dinh et al., Density estimation using Real NVP, ICLR 2017, section 3.6 and 4.1,
        https://arxiv.org/abs/1605.08803; the layers of one scale after homework 2 of Berkeley
        CS294-158 (2020).
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        filters: int = 128,
        blocks: int = 8,
        checkers: Sequence[int] = (4, 3),
        channels: int = 3,
        actnorm: Norms = "between",
        scale: Per = "channel",
        masks: Masks = "checkerboard",
        scales: int = 1,
    ) -> None:
        if len(event_shape) != 3:
            raise ShapeError(
                "RealNvpImage: event_shape must be (channels, height, width), got "
                f"{tuple(event_shape)}."
            )
        if actnorm not in ("between", "all", "none") or masks not in ("checkerboard", "halves"):
            raise UsageError(
                "RealNvpImage: actnorm must be between, all or none and masks checkerboard or "
                f"halves, got {actnorm!r} and {masks!r}."
            )
        if scales < 1 or len(checkers) != 2 or min(*checkers, channels) < 1:
            raise UsageError(
                "RealNvpImage: scales, channels and both numbers of checkers must be at least 1, "
                f"got {scales}, {channels} and {tuple(checkers)}."
            )
        net = partial(ResNet, filters=filters, blocks=blocks)
        make = partial(_stack, actnorm, partial(TanhCoupling, net=net, scale=scale))
        if masks == "halves":
            layers = make([("rows", False), ("rows", True), ("columns", False), ("columns", True)])
            turns = (*layers, *([ActNorm] if actnorm == "between" else []), *layers)
            super().__init__(event_shape, context_shape, of=turns)
            return
        first, last = (make(_checkerboard(number)) for number in checkers)
        middle = make([("halves", i % 2 == 0) for i in range(channels)])
        if scales == 1:
            squeeze = Squeeze(event_shape)
            back = partial(Inverse, of=squeeze)
            super().__init__(event_shape, context_shape, of=[*first, squeeze, *middle, back, *last])
            return
        end: list[Factory] = [*last, Flatten]
        for _ in range(scales - 1):
            leave = partial(Split, of=partial(Chain, of=end), net=net)
            end = [*first, Squeeze, *middle, leave]
        super().__init__(event_shape, context_shape, of=end)


def _checkerboard(number: int) -> list[tuple[Kept, bool]]:
    return [("checkerboard", i % 2 == 1) for i in range(number)]


def _stack(actnorm: Norms, coupling: Factory, splits: Sequence[tuple[Kept, bool]]) -> list[Factory]:
    """Couplings of these splits, each with ``swap``, and what stands between them."""
    layers: list[Factory] = []
    for i, (split, swap) in enumerate(splits):
        layers.append(partial(coupling, split=split, swap=swap))
        if actnorm == "all" or (actnorm == "between" and i + 1 < len(splits)):
            layers.append(ActNorm)
    return layers
