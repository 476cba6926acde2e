"""What the conformance kit builds; each is named like the class that it is for."""

import torch
from torch import Tensor

from corekit.testing import Conformance


def _within(rows: int, dtype: torch.dtype) -> Tensor:
    """Neither tail: a distribution function in [0, 1] tells nothing apart there."""
    return (0.1 + 0.8 * torch.rand(rows, 5, dtype=torch.float64)).to(dtype)


AffineCoupling = Conformance(
    options=(
        {"hidden": 6},
        {"hidden": 6, "swap": True},
        {"hidden": 6, "swap": True, "scale": "sigmoid2", "split": "interleaved"},
    )  # spectral_norm has tests of its own: its buffers move in training, as no bijector's may
)
AdditiveCoupling = Conformance(options=({"hidden": 6}, {"hidden": 6, "swap": True}))
RationalQuadraticCoupling = Conformance(options=({"hidden": 6, "bins": 4, "swap": True},))
_NET = {"type": "realnvp.made", "hidden": (16, 13)}
Autoregressive = Conformance(
    options=(
        {"net": {**_NET, "order": "reversed"}, "univariate": "additive"},
        {"net": _NET, "univariate": {"type": "realnvp.rational_quadratic", "bins": 4}},
        {
            "net": {
                "type": "realnvp.made",
                "hidden": (9,),
                "adjacency": (
                    (0, 0, 0, 1, 0),
                    (1, 0, 0, 0, 0),
                    (0, 0, 0, 0, 0),
                    (0, 0, 1, 0, 0),
                    (1, 0, 1, 0, 0),
                ),
            }
        },
    )
)
Maf = Conformance(options=({"hidden": (16, 13), "order": "random", "seed": 3},))
Iaf = Conformance(options=({"hidden": (16,)},))
Made = Conformance(
    options=(
        {"hidden": (16, 13)},
        {"hidden": (16,), "order": "random"},
        {"hidden": (8, 11), "blocks": 2, "activation": "tanh", "activate_context": True},
        {"hidden": (11,), "blocks": 1, "first_sees_context": False},
    )
)
ResidualMlp = Conformance(options=({"hidden": 6}, {"hidden": 6, "blocks": 0}))
RationalQuadratic = Conformance(
    options=(
        {"bins": 4},
        {"bins": 4, "bound": 3.141592653589793, "tails": "circular"},
        {"bins": 4, "tails": "none"},
        {"bins": 4, "parameters": "softclip"},
        {"bins": 4, "identity": False},
    )
)
LinearSpline = Conformance(options=({"bins": 4}, {"bins": 4, "tails": "none"}))
MixtureCdf = Conformance(
    options=(
        {"components": 3},
        {"components": 3, "latent": "probit"},
        {"components": 3, "family": "normal"},
        {"components": 3, "family": "normal", "latent": "probit"},
    )
)
MixtureCdfBijector = Conformance(
    options=({"components": 3, "latent": "uniform", "family": "normal"},),
    given=({"event_shape": (5,), "context_shape": None},),
    inputs=_within,
)
ResNet = Conformance(options=({"filters": 3, "blocks": 1},))
_RESNET = {"type": "realnvp.resnet", "filters": 3, "blocks": 1}
TanhCoupling = Conformance(
    options=(
        {"net": _RESNET, "split": "checkerboard"},
        {"net": _RESNET, "swap": True, "scale": "scalar"},
    ),
    given=({"event_shape": (2, 4, 3), "context_shape": None},),
)
VariationalDequantize = Conformance(
    options=({"bijector": {"type": "coupling", "net": {"type": "mlp", "hidden": (6,)}}},)
)
UniformDequantize = Conformance()
_WIDE = {"net": {"type": "mlp", "hidden": (6,)}}
Augment = Conformance(options=({**_WIDE, "extra": 2}, {"conditional": False}))
Slice = Conformance(options=(_WIDE, {"conditional": False, "max_log_scale": None}))
_SMALL = {"type": "mlp", "hidden": (8,), "activation": "tanh"}
Planar = Conformance(options=({"net": _SMALL},))
_TINY = {"filters": 2, "blocks": 0, "checkers": (1, 1), "channels": 1, "actnorm": "all"}
RealNvpImage = Conformance(
    options=(_TINY, {**_TINY, "scales": 2, "scale": "scalar"}),
    given=({"event_shape": (1, 4, 2), "context_shape": None},),
)
Residual = Conformance(
    options=(
        {"hidden": (16, 13), "lipschitz": 0.8},
        {"hidden": (16,), "logdet": "roulette", "terms": 2},
        {"hidden": (16,), "logdet": "truncated"},
    ),
    given=(
        {"event_shape": (5,), "context_shape": (3,)},
        {"event_shape": (2, 1, 3), "context_shape": None},
    ),
)
PixelCnn = Conformance(
    options=(
        {"filters": 6, "layers": 1, "kernel": 3},
        {"filters": 7, "layers": 1, "kernel": 3, "residual": True},
        {"filters": 4, "layers": 1, "kernel": 3, "channels": "independent"},
    ),
    given=(
        {"in_shape": (2, 4, 3), "out_shape": (2, 2, 4, 3), "context_shape": None},
        {"in_shape": (3, 3, 2), "out_shape": (1, 3, 3, 2), "context_shape": (3,)},
    ),
)
_FIELD = {"net": {"type": "mlp", "hidden": (6,), "activation": "tanh"}}
Continuous = Conformance(
    options=(
        {**_FIELD, "steps": 5, "solver": "dopri5"},
        {**_FIELD, "steps": 8, "trace": "hutchinson"},
    ),
    given=({"event_shape": (3,), "context_shape": (2,)},),
    tolerance=1e-6,  # of the solvers on these grids
)
Monotone = Conformance(options=({"hidden": 3}, {"hidden": 3, "layers": 2}))
