"""DDPM and improved DDPM. Imports neither torch nor pydantic: `corekit plugins` stays fast."""

from corekit.registry import Component, hookimpl
from corekit_ddpm_improved.later import LATER

API = "1.0"


def _component(kind: str, name: str, spec: str, target: str, summary: str) -> Component:
    return Component(
        kind,
        f"ddpm.{name}",
        spec=f"corekit_ddpm_improved.specs:{spec}",
        target=f"corekit_ddpm_improved.{target}",
        summary=summary,
        conformance=f"corekit_ddpm_improved.conformance:{name.upper()}",
    )


COMPONENTS = [
    _component(
        "noise_schedule",
        "linear",
        "LinearSpec",
        "schedules:Linear",
        "betas in equal steps; the default scales with the number of steps",
    ),
    _component(
        "noise_schedule",
        "cosine",
        "CosineSpec",
        "schedules:Cosine",
        "alphas_cumprod follow a squared cosine",
    ),
    _component(
        "denoising_loss",
        "mse",
        "MseSpec",
        "losses:Mse",
        "squared error of the noise, the data or v, averaged over the event",
    ),
    _component(
        "denoising_loss",
        "hybrid",
        "HybridSpec",
        "bound_losses:Hybrid",
        "squared error for the mean, variational bound for a learned variance",
    ),
    _component(
        "denoising_loss",
        "rescaled_mse",
        "RescaledMseSpec",
        "bound_losses:RescaledMse",
        "the hybrid loss with the weights of improved-diffusion",
    ),
    _component(
        "denoising_loss",
        "kl",
        "KlSpec",
        "bound_losses:Kl",
        "a term of the variational bound, in bits per dimension",
    ),
    _component(
        "denoising_loss",
        "rescaled_kl",
        "RescaledKlSpec",
        "bound_losses:RescaledKl",
        "the variational bound: such a term times the steps",
    ),
    Component(
        "timestep_sampler",
        "ddpm.uniform",
        spec="corekit_ddpm_improved.timestep_specs:UniformSpec",
        target="corekit.diffusion.timesteps:Uniform",
        summary="every level equally often: `uniform`",
    ),
    Component(
        "timestep_sampler",
        "ddpm.loss_second_moment",
        spec="corekit_ddpm_improved.timestep_specs:LossSecondMomentSpec",
        target="corekit_ddpm_improved.timesteps:LossSecondMoment",
        summary="steps of large losses more often, with weights that make up for it",
        conformance="corekit_ddpm_improved.conformance:LOSS_SECOND_MOMENT",
    ),
    Component(
        "timestep_sampler",
        "ddpm.antithetic",
        spec="corekit_ddpm_improved.timestep_specs:AntitheticSpec",
        target="corekit_ddpm_improved.timesteps:Antithetic",
        summary="the levels of a batch in equal distances, over all processes",
    ),
    Component(
        "timestep_sampler",
        "ddpm.log_normal",
        spec="corekit_ddpm_improved.timestep_specs:LogNormalSpec",
        target="corekit_ddpm_improved.timesteps:LogNormal",
        summary="a normal log(sigma / alpha), as EDM and logit-normal flows train",
        conformance="corekit_ddpm_improved.conformance:LOG_NORMAL",
    ),
    Component(
        "importer",
        "ddpm.improved_diffusion",
        spec="corekit_ddpm_improved.importer_specs:ImprovedDiffusionSpec",
        target="corekit_ddpm_improved.importer:ImprovedDiffusionImporter",
        summary="checkpoints of improved-diffusion",
    ),
    Component(
        "importer",
        "ddpm.guided_diffusion",
        spec="corekit_ddpm_improved.importer_specs:GuidedDiffusionSpec",
        target="corekit_ddpm_improved.importer:GuidedDiffusionImporter",
        summary="checkpoints of guided-diffusion (ADM)",
    ),
    Component(
        "denoiser",
        "ddpm.unet",
        spec="corekit_ddpm_improved.unet_specs:UNetSpec",
        target="corekit_ddpm_improved.unet:UNet",
        summary="residual blocks and attention on ever coarser grids, and back",
        conformance="corekit_ddpm_improved.conformance:UNET",
    ),
    Component(
        "bijector",
        "ddpm.probability_flow",
        spec="corekit_ddpm_improved.flow_specs:ProbabilityFlowSpec",
        target="corekit_ddpm_improved.probability_flow:ProbabilityFlow",
        summary="the ODE of a diffusion model: a flow from data to noise",
        conformance="corekit_ddpm_improved.conformance:PROBABILITY_FLOW",
    ),
    *LATER,
]


@hookimpl
def corekit_components() -> list[Component]:
    """What this package offers."""
    return COMPONENTS
