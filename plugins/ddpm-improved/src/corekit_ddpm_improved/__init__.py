"""DDPM and improved DDPM. Imports neither torch nor pydantic: `corekit plugins` stays fast."""

from corekit.registry import Component, hookimpl

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


@hookimpl
def corekit_components() -> list[Component]:
    """What this package offers."""
    return [
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
            "denoiser",
            "ddpm.unet",
            spec="corekit_ddpm_improved.unet_specs:UNetSpec",
            target="corekit_ddpm_improved.unet:UNet",
            summary="residual blocks and attention on ever coarser grids, and back",
            conformance="corekit_ddpm_improved.conformance:UNET",
        ),
    ]
