"""What the conformance kit builds; each is named like the spec that it is for."""

import torch

from corekit.data_spec import DataSpec
from corekit.testing import Conformance

_HEAD = ({"feature_shape": (5,), "latent_shape": (3,)},)

DiagonalGaussian = Conformance(options=({}, {"max_log_var": None}), given=_HEAD)
Point = Conformance(given=_HEAD)
FullGaussian = Conformance(given=_HEAD)
LowRankGaussian = Conformance(options=({"rank": 2},))
GaussianMixture = Conformance(options=({"components": 2},), given=_HEAD)
FlowPosterior = Conformance(
    options=({"bijector": {"type": "coupling"}, "context": 2},), given=_HEAD
)
VonMisesFisher = Conformance(given=_HEAD)
Gumbel = Conformance(options=({"categories": 2}, {"categories": 3, "hard": True}), given=_HEAD)

# priors
Vamp = Conformance(options=({"pseudo_inputs": 3},))
LatentMixture = Conformance(options=({"components": 2},))
UniformSphere = Conformance()
UniformCategories = Conformance(options=({"categories": 2},), given=({"event_shape": (4,)},))

# likelihoods
Bernoulli = Conformance()
ContinuousBernoulli = Conformance()
Gaussian = Conformance(options=({}, {"variance": "network", "scale": 0.5}, {"variance": "learned"}))
Laplace = Conformance(options=({"learn_scale": True},))
DiscretizedLogistic = Conformance(options=({"components": 2, "levels": 5},))
Categorical = Conformance(options=({"levels": 4},))
SquaredError = Conformance(options=({"output": "tanh"},))
LogCosh = Conformance()

# encoders and decoders; few cases: each costs thirty tests
_IMAGE = {"event_shape": (1, 3, 4)}
_SMALL = {"widths": (4, 6)}
_LATENT = ({**_IMAGE, "latent_shape": (3,)},)
_KL = {"widths": (4, 4), "blocks": 1, "groups": 2}

MlpEncoder = Conformance(
    options=(
        {"latent_dim": 3, "hidden": (8,)},
        {"latent_dim": 3, "hidden": (), "posterior": "vae.point"},
    ),
    given=({"event_shape": (3, 2)},),
)
ConvEncoder = Conformance(
    options=({**_SMALL, "latent_dim": 3}, {**_SMALL, "latent_channels": 2, "batch_norm": False}),
    given=(_IMAGE,),
)
ResnetEncoder = Conformance(options=({**_SMALL, "latent_dim": 3, "blocks": 1},), given=(_IMAGE,))
KlEncoder = Conformance(options=({**_KL, "latent_channels": 2},), given=(_IMAGE,))
MlpDecoder = Conformance(
    options=({"hidden": (8,)},), given=({"event_shape": (3,), "latent_shape": (2, 2)},)
)
ConvDecoder = Conformance(options=(_SMALL,), given=_LATENT)
ResnetDecoder = Conformance(options=({**_SMALL, "blocks": 1},), given=_LATENT)
KlDecoder = Conformance(options=(_KL,), given=({**_IMAGE, "latent_shape": (2, 1, 2)},))

# objectives; their gradients are those of the total with the estimator "plain" only
_JUDGE = {"judge": {"type": "mlp", "hidden": (6,), "activation": "tanh"}}

Elbo = Conformance(
    options=(
        {},
        {"kl": "draw"},
        {"kl_weight": {"steps": 5, "shape": "cyclic"}, "free_bits": 0.5, "groups": None},
        {"capacity": {"end": 3.0, "steps": 5, "shape": "cosine"}, "per_row": True},
    )
)
Beta = Conformance(options=({"form": "b", "gamma": 3.0, "capacity_steps": 5},))
BetaTc = Conformance(options=({"size": 100},))
Dip = Conformance()
Factor = Conformance(options=(_JUDGE,))
Info = Conformance()
Mmd = Conformance(options=({"kernel": "imq_multi"},))
Sliced = Conformance(options=({"projections": 9},))
Iwae = Conformance(options=({"samples": 3}, {"samples": 2, "groups": 2}))
Gan = Conformance(options=(_JUDGE,))
Combined = Conformance(
    options=({"of": ["vae.elbo", {"type": "vae.factor", **_JUDGE}, {"type": "vae.gan", **_JUDGE}]},)
)

# codes
VqEncoder = Conformance(options=({"latent_channels": 3, "widths": (4, 5), "blocks": 1},))
VqDecoder = Conformance(
    options=({"widths": (4,), "blocks": 1},),
    given=[{"event_shape": (2, 6, 5), "latent_shape": (3, 3, 2)}],
)
Vector = Conformance(options=({"codes": 6}, {"codes": 6, "learn": "loss", "restart_below": 0.5}))
Residual = Conformance(options=({"codes": 5, "depth": 2},))
FiniteScalar = Conformance(options=({"values": (2, 3, 4, 5)},))
Autoregressive = Conformance(options=({"levels": 5, "width": 8, "layers": 2, "heads": 2},))
Quantized = Conformance(
    options=(
        {
            "encoder": {"type": "vae.vq", "latent_channels": 3, "widths": [4], "blocks": 1},
            "quantizer": {"type": "vae.vector", "codes": 6},
            "decoder": {"type": "vae.vq", "widths": [4], "blocks": 1},
            "prior": {"type": "vae.autoregressive", "width": 8, "layers": 1, "heads": 2},
        },
    ),
    given=[{"data": DataSpec((3, 8, 8))}],
    expected_failures={
        "gradients_equal_finite_differences": "rounding has the gradient of what went in"
    },
)

# metrics
Nll = Conformance(options=({"samples": 20, "at_once": 7},))
Latents = Conformance()
Disentanglement = Conformance(options=({"votes": 20, "group": 4, "bins": 5},))
Reconstruction = Conformance(inputs=lambda rows, dtype: torch.rand(rows, 2, 9, 8).to(dtype))
