"""The same flows in corekit and in the libraries that users come from.

Each function takes the number of features and returns a `Flow` of three calls. Layers, hidden
widths, bins, the bound of the splines and the optimizer are equal; what a library adds by itself
stays. A library that lacks a flow returns None.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor, nn

HIDDEN, BINS, BOUND = 128, 8, 5.0
LAYERS = {"RealNVP": 8, "MAF": 5, "NSF coupling": 5, "NSF autoregressive": 5}


class Flow(NamedTuple):
    """A flow of some library."""

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]


def corekit(kind: str, features: int) -> Flow:
    """Ours."""
    from corekit_realnvp.autoregressive import Autoregressive
    from corekit_realnvp.made import Made
    from corekit_realnvp.splines import RationalQuadratic

    from corekit.flows.affine import Affine
    from corekit.flows.compose import Chain
    from corekit.flows.coupling import Coupling
    from corekit.flows.prior import FlowPrior
    from corekit.nn.mlp import Mlp

    univariate = RationalQuadratic(BINS, BOUND) if "NSF" in kind else Affine()
    hidden = (HIDDEN, HIDDEN)
    layers: list[Callable[..., nn.Module]] = []
    for i in range(LAYERS[kind]):
        if kind in ("MAF", "NSF autoregressive"):
            order = ("sequential", "reversed")[i % 2]
            net = partial(Made, hidden=hidden, order=order, zero_last=False)
            layers.append(partial(Autoregressive, univariate=univariate, net=net))
        else:
            net = partial(Mlp, hidden=hidden, zero_last=False)
            layers.append(partial(Coupling, univariate=univariate, net=net, swap=i % 2 == 1))
    flow = FlowPrior((features,), bijector=partial(Chain, of=layers))
    return Flow(flow, lambda x: flow.log_prob(x).value, flow.sample)


def corekit_residual(kind: str, features: int) -> Flow:
    """Ours as normflows builds its coupling splines: residual nets, both parts moved, identity."""
    from corekit_realnvp.residual_mlp import ResidualMlp
    from corekit_realnvp.splines import RationalQuadratic

    from corekit.flows.compose import Chain
    from corekit.flows.coupling import Coupling
    from corekit.flows.elementwise import Elementwise
    from corekit.flows.prior import FlowPrior

    if kind != "NSF coupling":
        raise ValueError(f"corekit_residual: kind must be 'NSF coupling', got {kind!r}.")
    spline, net = RationalQuadratic(BINS, BOUND), partial(ResidualMlp, hidden=HIDDEN, blocks=1)
    layers: list[Callable[..., nn.Module]] = []
    for i in range(LAYERS[kind]):
        layers.append(partial(Elementwise, univariate=spline))
        layers.append(partial(Coupling, univariate=spline, net=net, swap=i % 2 == 1))
    flow = FlowPrior((features,), bijector=partial(Chain, of=layers))
    return Flow(flow, lambda x: flow.log_prob(x).value, flow.sample)


def nflows(kind: str, features: int) -> Flow:
    """nflows."""
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow as Whole
    from nflows.transforms import (
        AffineCouplingTransform,
        CompositeTransform,
        MaskedAffineAutoregressiveTransform,
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        PiecewiseRationalQuadraticCouplingTransform,
        ReversePermutation,
    )

    layers: list[nn.Module] = []
    spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
    made = {"hidden_features": HIDDEN, "num_blocks": 1, "use_residual_blocks": False}
    for i in range(LAYERS[kind]):
        mask = (torch.arange(features) < (features + 1) // 2).int()
        mask = mask if i % 2 else 1 - mask  # one moves
        if kind == "RealNVP":
            layers.append(AffineCouplingTransform(mask, _TwoLayers))
        elif kind == "NSF coupling":
            layers.append(PiecewiseRationalQuadraticCouplingTransform(mask, _TwoLayers, **spline))
        elif kind == "MAF":
            layers += [MaskedAffineAutoregressiveTransform(features, **made)]
            layers += [ReversePermutation(features)]
        else:
            ar = MaskedPiecewiseRationalQuadraticAutoregressiveTransform
            layers += [ar(features, **made, **spline), ReversePermutation(features)]
    flow = Whole(CompositeTransform(layers), StandardNormal([features]))
    return Flow(flow, flow.log_prob, flow.sample)


def normflows(kind: str, features: int) -> Flow:
    """normflows."""
    nf = import_module("normflows")
    base, layers = nf.distributions.DiagGaussian(features, trainable=False), []
    for i in range(LAYERS[kind]):
        first = (features + 1) // 2
        if kind == "RealNVP":
            kept, moved = (first, features - first) if i % 2 else (features - first, first)
            net = nf.nets.MLP([kept, HIDDEN, HIDDEN, 2 * moved])
            mode = "channel" if i % 2 else "channel_inv"
            layers.append(nf.flows.AffineCouplingBlock(net, split_mode=mode))
        elif kind == "MAF":
            maf = nf.flows.MaskedAffineAutoregressive(
                features, HIDDEN, num_blocks=1, use_residual_blocks=False
            )
            layers += [nf.flows.Reverse(maf), nf.flows.Permute(features, mode="swap")]
        elif kind == "NSF coupling":
            nsf = nf.flows.CoupledRationalQuadraticSpline
            one = nsf(features, 1, HIDDEN, num_bins=BINS, tail_bound=BOUND, reverse_mask=i % 2 == 1)
            layers.append(one)
        else:
            nsf = nf.flows.AutoregressiveRationalQuadraticSpline
            layers.append(nsf(features, 1, HIDDEN, num_bins=BINS, tail_bound=BOUND))
    flow = nf.NormalizingFlow(base, layers)
    return Flow(flow, flow.log_prob, lambda n: flow.sample(n)[0])


def zuko(kind: str, features: int) -> Flow:
    """zuko."""
    flows = import_module("zuko").flows
    options = {"transforms": LAYERS[kind], "hidden_features": (HIDDEN, HIDDEN)}
    if kind == "RealNVP":
        flow = flows.RealNVP(features, **options)
    elif kind == "MAF":
        flow = flows.MAF(features, **options)
    elif kind == "NSF coupling":
        flow = flows.NSF(features, bins=BINS, passes=2, **options)
    else:
        flow = flows.NSF(features, bins=BINS, **options)
    return Flow(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def freia(kind: str, features: int) -> Flow | None:
    """FrEIA, which has affine couplings."""
    if kind != "RealNVP":
        return None
    ff, fm = import_module("FrEIA.framework"), import_module("FrEIA.modules")
    flow = ff.SequenceINN(features)
    for _ in range(LAYERS[kind]):
        flow.append(fm.AllInOneBlock, subnet_constructor=_TwoLayers)

    def log_prob(x: Tensor) -> Tensor:
        z, logdet = flow(x)
        return -0.5 * z.square().sum(1) - 0.919 * features + logdet

    return Flow(flow, log_prob, lambda n: flow(torch.randn(n, features), rev=True)[0])


LIBRARIES = {
    "corekit": corekit,
    "nflows": nflows,
    "normflows": normflows,
    "zuko": zuko,
    "FrEIA": freia,
}


class _TwoLayers(nn.Module):
    """The perceptron that all couplings here have."""

    def __init__(self, features: int, out_features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(features, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, out_features),
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Apply it."""
        return self.net(x)
