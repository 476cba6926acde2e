"""RealNVP and the flows of its family. No torch, no pydantic: `corekit plugins` stays fast."""

from corekit.registry import Component, hookimpl

API = "1.0"


def _component(kind: str, name: str, spec: str, target: str, summary: str) -> Component:
    return Component(
        kind,
        f"realnvp.{name}",
        spec=f"corekit_realnvp.{spec}",
        target=f"corekit_realnvp.{target}",
        summary=summary,
        conformance=f"corekit_realnvp.conformance:{target.partition(':')[2]}",
    )


def _couplings() -> list[Component]:
    return [
        _component(
            "bijector",
            "affine_coupling",
            "specs:AffineCouplingSpec",
            "coupling:AffineCoupling",
            "scale and shift one part, conditioned on the other",
        ),
        _component(
            "bijector",
            "additive_coupling",
            "specs:AdditiveCouplingSpec",
            "coupling:AdditiveCoupling",
            "shift one part, conditioned on the other",
        ),
        _component(
            "bijector",
            "rational_quadratic",
            "specs:RationalQuadraticCouplingSpec",
            "coupling:RationalQuadraticCoupling",
            "move one part by splines, conditioned on the other",
        ),
        _component(
            "network",
            "residual_mlp",
            "specs:ResidualMlpSpec",
            "residual_mlp:ResidualMlp",
            "a perceptron of residual blocks",
        ),
    ]


def _autoregressive() -> list[Component]:
    return [
        _component(
            "bijector",
            "autoregressive",
            "autoregressive_specs:AutoregressiveSpec",
            "autoregressive:Autoregressive",
            "move each element given those before it",
        ),
        _component(
            "bijector",
            "maf",
            "autoregressive_specs:MafSpec",
            "autoregressive:Maf",
            "masked autoregressive flow, fast to evaluate",
        ),
        _component(
            "bijector",
            "iaf",
            "autoregressive_specs:IafSpec",
            "autoregressive:Iaf",
            "inverse autoregressive flow, fast to sample",
        ),
        _component(
            "network",
            "made",
            "autoregressive_specs:MadeSpec",
            "made:Made",
            "a masked perceptron",
        ),
    ]


def _univariates() -> list[Component]:
    return [
        _component(
            "univariate",
            "rational_quadratic",
            "univariate_specs:RationalQuadraticSpec",
            "splines:RationalQuadratic",
            "a monotone rational-quadratic spline",
        ),
        _component(
            "univariate",
            "linear_spline",
            "univariate_specs:LinearSplineSpec",
            "splines:LinearSpline",
            "a piecewise linear spline",
        ),
        _component(
            "univariate",
            "mixture_cdf",
            "univariate_specs:MixtureCdfSpec",
            "mixture:MixtureCdf",
            "the distribution function of a mixture",
        ),
        _component(
            "univariate",
            "monotone",
            "univariate_specs:MonotoneSpec",
            "monotone:Monotone",
            "a monotone network of one number",
        ),
        _component(
            "bijector",
            "mixture_cdf",
            "univariate_specs:MixtureCdfBijectorSpec",
            "mixture:MixtureCdfBijector",
            "the distribution function of a mixture, for each element",
        ),
    ]


def _images() -> list[Component]:
    return [
        _component(
            "network",
            "resnet",
            "image_specs:ResNetSpec",
            "resnet:ResNet",
            "weight-normalised residual blocks over images",
        ),
        _component(
            "network",
            "pixelcnn",
            "image_specs:PixelCnnSpec",
            "pixelcnn:PixelCnn",
            "masked convolutions, pixel after pixel",
        ),
        _component(
            "bijector",
            "tanh_coupling",
            "image_specs:TanhCouplingSpec",
            "tanh_coupling:TanhCoupling",
            "scale and shift one part, as in the RealNVP paper",
        ),
        _component(
            "bijector",
            "image",
            "image_specs:RealNvpImageSpec",
            "image:RealNvpImage",
            "the layers of RealNVP on images",
        ),
        _component(
            "stochastic",
            "uniform_dequantize",
            "dequantize_specs:UniformDequantizeSpec",
            "dequantize:UniformDequantize",
            "uniform noise in the bin of each level",
        ),
        _component(
            "stochastic",
            "variational_dequantize",
            "dequantize_specs:VariationalDequantizeSpec",
            "dequantize:VariationalDequantize",
            "noise in the bin of each level that a flow makes",
        ),
    ]


def _surjections() -> list[Component]:
    return [
        _component(
            "stochastic",
            "augment",
            "surjection_specs:AugmentSpec",
            "surjections:Augment",
            "put numbers of a Gaussian beside the data",
        ),
        _component(
            "stochastic",
            "slice",
            "surjection_specs:SliceSpec",
            "surjections:Slice",
            "keep some features, model the others given these",
        ),
    ]


def _free_form() -> list[Component]:
    return [
        _component(
            "bijector",
            "planar",
            "free_form_specs:PlanarSpec",
            "planar:Planar",
            "push the data along one direction, across a soft plane",
        ),
        _component(
            "bijector",
            "residual",
            "free_form_specs:ResidualSpec",
            "residual:Residual",
            "add a perceptron that moves less than its input",
        ),
        _component(
            "bijector",
            "continuous",
            "free_form_specs:ContinuousSpec",
            "continuous:Continuous",
            "follow a velocity field",
        ),
    ]


def _importers() -> list[Component]:
    return [
        Component(
            "importer",
            "realnvp.nflows",
            spec="corekit_realnvp.importer_specs:NflowsSpec",
            target="corekit_realnvp.nflows:NflowsImporter",
            summary="flows of nflows: MAF, NSF, RealNVP, their permutations and linear layers",
        ),
        Component(
            "importer",
            "realnvp.zuko",
            spec="corekit_realnvp.importer_specs:ZukoSpec",
            target="corekit_realnvp.zuko:ZukoImporter",
            summary="flows of zuko: MAF, NSF, NICE, RealNVP",
        ),
    ]


@hookimpl
def corekit_components() -> list[Component]:
    """What this package offers."""
    return [
        *_couplings(),
        *_autoregressive(),
        *_univariates(),
        *_images(),
        *_surjections(),
        *_free_form(),
        *_importers(),
    ]
