"""What the conformance kit builds; each is named like the spec that it is for."""

import torch
from torch import nn

from corekit.data_spec import DataSpec
from corekit.testing import Conformance
from corekit.testing.case import redraw


def _mild(part: nn.Module) -> None:
    """Random weights, but those that have great effects nearer to where they start.

    Scales that are tripled in an exponent, and triangles, whose inverses grow with a power of their
    entries: latents that no data led to would pass through factors of a thousand at each level.
    """
    start = {name: parameter.detach().clone() for name, parameter in part.named_parameters()}
    redraw(part)
    with torch.no_grad():
        for name, parameter in part.named_parameters():
            if name.endswith(("logs", "lower", "upper")):
                parameter.lerp_(start[name], 0.8)


_IMAGE = {"event_shape": (3, 4, 8)}
_NET = {"type": "glow.net", "hidden": 6}

Glow = Conformance(
    options=(
        {"levels": 1, "steps": 1, "hidden": 6},
        {"levels": 2, "steps": 2, "hidden": 4, "mixing": "plain", "scale": "exp_tanh"},
        {"levels": 2, "steps": 1, "hidden": 4, "mixing": "shuffle", "edge_bias": "all"},
        {"levels": 2, "steps": 1, "hidden": 4, "context_to": "all", "max_log_std": 1.0},
        {"levels": 1, "steps": 1, "mixing": "qr", "coupling": "additive", "net": _NET},
        {
            "levels": 1,
            "steps": 1,
            "hidden": 4,
            "mixing": "reverse",
            "actnorm_in_net": False,
            "logscale_factor": 0,
            "learn_top": False,
        },
    ),
    given=[_IMAGE, {**_IMAGE, "context_shape": (3,)}],
    prepare=_mild,
)
FlowStep = Conformance(
    options=(
        {"coupling": {"type": "glow.coupling", "hidden": 6}},
        {"coupling": {"type": "glow.coupling", "hidden": 6}, "mixing": "linear"},
        {"coupling": {"type": "glow.coupling", "hidden": 6}, "mixing": "glow.permute"},
    )
)
GlowCoupling = Conformance(
    options=(
        {"hidden": 6},
        {"hidden": 6, "scale": "exp_tanh", "swap": True},
        {"hidden": 6, "scale": "clamped", "floor": 0.0},
        {"hidden": 6, "form": "additive"},
    )
)
InvertibleConv = Conformance(
    options=({}, {"form": "plain"}, {"form": "qr"}, {"form": "orthogonal"})
)
Permute = Conformance(options=({}, {"order": "reverse"}))
TopPrior = Conformance(options=({}, {"learn": False}, {"logscale_factor": 0}))
GlowNet = Conformance(
    options=(
        {"hidden": 6},
        {"hidden": 6, "actnorm": False, "edge_bias": "all"},
        {"hidden": 6, "logscale_factor": 0, "edge_bias": "last"},
    )
)
GatedResNet = Conformance(
    options=(
        {"hidden": 4, "blocks": 2},
        {"hidden": 5, "blocks": 1, "dropout": 0.5, "logscale_factor": 0},
    )
)
SplitNet = Conformance(options=({}, {"edge": True}))
_SMALL = {"patch": 2, "width": 8, "heads": 2, "layers": 1}

TransformerBlock = Conformance(
    options=(
        _SMALL,
        {**_SMALL, "layers": 2, "order": "backward", "max_log_scale": 1.0},
        {**_SMALL, "patch": 4, "heads": 1, "max_log_scale": None},
    ),
    given=[_IMAGE, {**_IMAGE, "context_shape": (3,)}],
)
Tarflow = Conformance(
    options=(
        {**_SMALL, "patch": 4, "blocks": 2},  # few patches: the way back is compiled patch by patch
        {**_SMALL, "blocks": 3, "max_log_scale": 0.5},
    ),
    given=[_IMAGE, {**_IMAGE, "context_shape": (3,)}],
)
NoisyFlow = Conformance(
    options=(
        {"bijector": {"type": "linear"}},
        {"bijector": {"type": "chain", "of": ["actnorm", "linear"]}, "sigma": 0.5},
    ),
)

_GLOW = {"type": "glow.glow", "levels": 1, "steps": 1, "hidden": 4}

ClassifiedFlow = Conformance(
    options=(
        {"bijector": _GLOW, "classes": 3},
        {"bijector": _GLOW, "classes": 3, "conditional": False, "weight": 1.0},
        {"bijector": _GLOW},
        {"bijector": {"type": "linear"}, "conditional": False},
    ),
    given=[{"data": DataSpec((1, 4, 4), condition_shapes={"labels": (), "vector": (3,)})}],
    prepare=_mild,
)
