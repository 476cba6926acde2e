"""Glow: levels of squeeze and flow steps, with a split after each but the last."""

from functools import partial
from typing import Literal

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Factory
from corekit.flows.coupling import NetworkFactory
from corekit.flows.multiscale import MultiScale
from corekit.flows.squeeze import Squeeze
from corekit.interfaces.network import Network
from corekit_glow.coupling import Form, GlowCoupling, Scale
from corekit_glow.invertible_conv import invertible_conv
from corekit_glow.net import GlowNet
from corekit_glow.permute import GlowPermute
from corekit_glow.specs import check_sides
from corekit_glow.split import SplitNet
from corekit_glow.step import FlowStep
from corekit_glow.top import TopPrior

Mix = Literal["lu", "plain", "qr", "orthogonal", "shuffle", "reverse"]


class Glow(MultiScale):
    r"""The flow of Glow on images of any number of channels, square or not.

    Each of L levels squeezes 2 x 2 pixels into channels and takes K steps (`FlowStep`: ActNorm, a
    mixing of channels, a coupling). After each level but the last, half of the channels leave as
    standard normal numbers, given the other half; the deepest ones do by a learned mean and
    deviation per channel (`TopPrior`), which may depend on a context. So z is one vector of
    independent standard normal numbers, [first level, ..., deepest] (`levels`, `joined`).

    Args:
        event_shape: ``(C, H, W)``; H and W multiples of 2^L.
        context_shape: Shape of a context, or None.
        levels: L.
        steps: K.
        hidden: Channels inside a coupling's network.
        mixing: lu, plain, qr or orthogonal 1x1 convolutions, or a fixed shuffle or reversal.
        coupling: affine or additive.
        scale: Of an affine coupling (`ShiftScale`).
        floor: The least scale of an affine coupling.
        learn_top: Whether mean and deviation of the deepest level are learned.
        context_to: What sees the context: top, the mean and deviation of the deepest level; or all,
            the networks of couplings and splits as well.
        max_log_std: Bound on |log deviation| of what leaves, nats (`Split`); None for none.
        net: Factory of another network for the couplings.
        actnorm_in_net: Whether the networks have ActNorm, as in the authors' code.
        actnorm_scale: Deviation of the channels after the ActNorm of a step has started.
        logscale_factor: Of the scales of layers that start with zeros; 0 for none.
        edge_bias: Which convolutions are told where the border is: none, last or all.
        net_dtype: bf16 lets the networks of couplings train in bfloat16; z, the log-determinant
            and the 1x1 convolutions stay as they are, and so does everything in evaluation.

    Shape: x ``(B, C, H, W)``, z ``(B, C H W)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event is no image, or a side is no multiple of 2^L.
        UsageError: If an option is unknown or out of range.

    Source: Kingma and Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions,
        NeurIPS 2018, https://arxiv.org/abs/1807.03039.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        levels: int = 3,
        steps: int = 32,
        hidden: int = 512,
        mixing: Mix = "lu",
        coupling: Form = "affine",
        scale: Scale = "sigmoid2",
        floor: float = 1e-3,
        learn_top: bool = True,
        context_to: Literal["top", "all"] = "top",
        max_log_std: float | None = 7.0,
        net: NetworkFactory | None = None,
        actnorm_in_net: bool = True,
        actnorm_scale: float = 1.0,
        logscale_factor: float = 3.0,
        edge_bias: str = "none",
        net_dtype: str = "input",
    ) -> None:
        if min(levels, steps) < 1:
            raise UsageError(
                f"Glow: levels and steps must be at least 1, got {levels} and {steps}."
            )
        if context_to not in ("top", "all"):
            raise UsageError(f"Glow: context_to must be top or all, got {context_to!r}.")
        check_sides("Glow", event_shape, levels)
        net = net or partial(
            GlowNet,
            hidden=hidden,
            actnorm=actnorm_in_net,
            logscale_factor=logscale_factor,
            edge_bias=edge_bias,
            dtype=net_dtype,
        )
        edge = edge_bias != "none"
        split: NetworkFactory = partial(SplitNet, logscale_factor=logscale_factor, edge=edge)
        if context_to == "top":
            net, split = _without_context(net), _without_context(split)
        step = partial(
            FlowStep,
            actnorm=partial(ActNorm, scale=actnorm_scale),
            coupling=partial(GlowCoupling, form=coupling, scale=scale, floor=floor, net=net),
        )
        top = partial(
            TopPrior,
            learn=learn_top,
            logscale_factor=logscale_factor,
            edge=edge,
            max_log_std=max_log_std,
        )
        super().__init__(
            event_shape,
            context_shape,
            levels=levels,
            of=[Squeeze, *(partial(step, mixing=_mixing(mixing, i)) for i in range(steps))],
            net=split,
            max_log_scale=max_log_std,
            top=top if learn_top or context_shape is not None else None,
        )


def _without_context(net: NetworkFactory) -> NetworkFactory:
    """The same networks, which do not see the context that they are offered."""

    def build(in_shape: Shape, out_shape: Shape, context_shape: Shape | None = None) -> Network:
        return net(in_shape=in_shape, out_shape=out_shape, context_shape=None)

    return build


def _mixing(name: Mix, seed: int) -> Factory:
    if name == "shuffle" or name == "reverse":
        return partial(GlowPermute, order=name, seed=seed)
    return partial(invertible_conv, form=name)
