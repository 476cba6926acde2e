"""The components of core that flows are made of. Strings only, nothing is imported."""

from __future__ import annotations

from corekit.registry.declaration import Component


def of_core(
    kind: str, name: str, spec: str, target: str, summary: str, conformance: str | None = None
) -> Component:
    """A component of core: a spec of `corekit.spec`, a target of `corekit`."""
    return Component(
        kind,
        name,
        spec=f"corekit.spec.{spec}",
        target=f"corekit.{target}",
        summary=summary,
        conformance=conformance and f"corekit.testing.core:{conformance}",
    )


_BIJECTORS: list[tuple[str, ...]] = [
    ("chain", "flows:ChainSpec", "flows.compose:Chain", "bijectors one after another"),
    (
        "inverse",
        "flows:InverseSpec",
        "flows.compose:Inverse",
        "a bijector run backwards",
        "INVERSE",
    ),
    (
        "repeat",
        "flows:RepeatSpec",
        "flows.compose:Repeat",
        "the same bijectors again and again, each with its own weights",
        "REPEAT",
    ),
    (
        "linear",
        "flows:LinearSpec",
        "flows.linear:Linear",
        "an invertible matrix over the features",
        "LINEAR",
    ),
    (
        "coupling",
        "couplings:CouplingSpec",
        "flows.coupling:Coupling",
        "one part moved by a map that a network steers from the rest",
        "COUPLING",
    ),
    (
        "elementwise",
        "couplings:ElementwiseSpec",
        "flows.elementwise:Elementwise",
        "a map of one number on every element",
    ),
    (
        "actnorm",
        "layers:ActNormSpec",
        "flows.actnorm:ActNorm",
        "a shift and a scale per channel that start from data",
        "ACTNORM",
    ),
    (
        "squeeze",
        "layers:SqueezeSpec",
        "flows.squeeze:Squeeze",
        "blocks of pixels become channels",
        "SQUEEZE",
    ),
    ("flatten", "layers:FlattenSpec", "flows.squeeze:Flatten", "any event as a vector"),
    (
        "permute",
        "layers:PermuteSpec",
        "flows.permute:Permute",
        "a fixed order of the features or channels",
        "PERMUTE",
    ),
    (
        "lu_linear",
        "layers:LuLinearSpec",
        "flows.lu_linear:LuLinear",
        "an invertible matrix by its triangular factors",
        "LU_LINEAR",
    ),
    (
        "householder",
        "layers:HouseholderSpec",
        "flows.householder:Householder",
        "a product of reflections",
        "HOUSEHOLDER",
    ),
    (
        "logit",
        "layers:LogitSpec",
        "flows.pointwise:Logit",
        "the unit interval to the real line",
        "LOGIT",
    ),
    (
        "sigmoid",
        "layers:SigmoidSpec",
        "flows.pointwise:Sigmoid",
        "the real line to the unit interval",
    ),
    ("tanh", "layers:TanhSpec", "flows.pointwise:Tanh", "the real line to [-1, 1]", "TANH"),
    (
        "softplus",
        "layers:SoftplusSpec",
        "flows.pointwise:Softplus",
        "the real line to the positive numbers, log(1 + exp x)",
    ),
    (
        "exp",
        "layers:ExpSpec",
        "flows.pointwise:Exp",
        "the real line to the positive numbers, exp x",
    ),
    ("leaky_relu", "layers:LeakyReluSpec", "flows.pointwise:LeakyRelu", "two slopes", "LEAKY_RELU"),
    (
        "split",
        "layers:SplitSpec",
        "flows.multiscale:Split",
        "one half leaves, given the other, which goes on",
        "SPLIT",
    ),
    (
        "multiscale",
        "layers:MultiScaleSpec",
        "flows.multiscale:MultiScale",
        "the same layers at several levels, a split after each",
        "MULTISCALE",
    ),
]

FLOWS = [
    *(of_core("bijector", *row) for row in _BIJECTORS),
    # maps of one number, and networks that steer them
    of_core(
        "univariate",
        "affine",
        "couplings:AffineSpec",
        "flows.affine:Affine",
        "a scale and a shift",
        "AFFINE",
    ),
    of_core(
        "univariate",
        "additive",
        "couplings:AdditiveSpec",
        "flows.affine:Additive",
        "a shift",
    ),
    of_core(
        "network",
        "mlp",
        "couplings:MlpSpec",
        "nn.mlp:Mlp",
        "a multilayer perceptron",
        "NETWORK",
    ),
    of_core(
        "network",
        "convnet",
        "couplings:ConvNetSpec",
        "nn.convnet:ConvNet",
        "three convolutions",
        "CONVNET",
    ),
    # densities
    of_core(
        "model",
        "variational_flow",
        "variational:VariationalFlowSpec",
        "flows.variational:VariationalFlow",
        "a normalizing flow fitted to an unnormalised density, without data",
        "VARIATIONAL_FLOW",
    ),
    of_core(
        "prior",
        "uniform",
        "bases:UniformBaseSpec",
        "flows.bases:Uniform",
        "uniform on the unit interval",
    ),
    of_core(
        "prior",
        "logistic",
        "bases:LogisticBaseSpec",
        "flows.bases:Logistic",
        "the standard logistic distribution",
    ),
    of_core(
        "prior",
        "gaussian",
        "bases:GaussianBaseSpec",
        "flows.bases:Gaussian",
        "a Gaussian with learned, fixed or conditional mean and scale",
        "GAUSSIAN_BASE",
    ),
    of_core(
        "prior",
        "mixture",
        "bases:MixtureBaseSpec",
        "flows.bases:Mixture",
        "a mixture of Gaussians or logistics",
        "MIXTURE_BASE",
    ),
]
