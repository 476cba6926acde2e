"""Glow and its parts. No torch, no pydantic: `corekit plugins` stays fast."""

from corekit.registry import Component, hookimpl

API = "1.0"


def _component(kind: str, name: str, spec: str, target: str, summary: str) -> Component:
    module, _, spec = spec.rpartition(":")
    checks = None if kind == "importer" else f"corekit_glow.conformance:{spec}"
    return Component(
        kind,
        f"glow.{name}",
        spec=f"corekit_glow.{module or 'specs'}:{spec}Spec",
        target=f"corekit_glow.{target}",
        summary=summary,
        conformance=checks,
    )


_COMPONENTS = [
    ("bijector", "glow", "Glow", "flow:Glow", "levels of flow steps over images"),
    ("bijector", "step", "FlowStep", "step:FlowStep", "actnorm, a mixing of channels, a coupling"),
    (
        "bijector",
        "coupling",
        "GlowCoupling",
        "coupling:GlowCoupling",
        "shift and scale half of the channels, given the others",
    ),
    (
        "bijector",
        "invertible_conv",
        "InvertibleConv",
        "invertible_conv:invertible_conv",
        "a 1x1 convolution: lu, plain, qr or orthogonal",
    ),
    ("bijector", "permute", "Permute", "permute:GlowPermute", "channels in another, fixed order"),
    (
        "bijector",
        "top",
        "TopPrior",
        "top:TopPrior",
        "learned mean and deviation of each channel, by a context",
    ),
    (
        "bijector",
        "tarflow",
        "tarflow_specs:Tarflow",
        "tarflow:Tarflow",
        "transformer blocks over the patches of images",
    ),
    (
        "bijector",
        "transformer_block",
        "tarflow_specs:TransformerBlock",
        "transformer:TransformerBlock",
        "shift and scale each patch of an image, given those before it",
    ),
    (
        "model",
        "noisy_flow",
        "tarflow_specs:NoisyFlow",
        "denoising:NoisyFlow",
        "a flow of data with Gaussian noise, whose samples are denoised",
    ),
    (
        "model",
        "classified_flow",
        "classified_specs:ClassifiedFlow",
        "classified:ClassifiedFlow",
        "a flow with a class head on its deepest latent",
    ),
    ("network", "net", "GlowNet", "net:GlowNet", "the convolutions of a coupling, with actnorm"),
    (
        "network",
        "gated_resnet",
        "GatedResNet",
        "gated:GatedResNet",
        "gated residual blocks of convolutions, as in Flow++",
    ),
    ("network", "zero", "SplitNet", "split:SplitNet", "one convolution that starts with zeros"),
    (
        "importer",
        "chaiyujin",
        "Chaiyujin",
        "chaiyujin:ChaiyujinImporter",
        "checkpoints of chaiyujin/glow-pytorch",
    ),
    ("importer", "y0ast", "Y0ast", "chaiyujin:Y0astImporter", "checkpoints of y0ast/Glow-PyTorch"),
    (
        "importer",
        "rosinality",
        "Rosinality",
        "rosinality:RosinalityImporter",
        "checkpoints of rosinality/glow-pytorch",
    ),
]


@hookimpl
def corekit_components() -> list[Component]:
    """What this package offers."""
    return [_component(*row) for row in _COMPONENTS]
