"""The components that came after improved diffusion. Strings only, nothing is imported."""

from corekit.registry import Component


def _component(kind: str, name: str, spec: str, target: str, summary: str) -> Component:
    return Component(
        kind,
        f"ddpm.{name}",
        spec=f"corekit_ddpm_improved.{spec}",
        target=f"corekit_ddpm_improved.{target}",
        summary=summary,
        conformance=f"corekit_ddpm_improved.conformance_later:{name.upper()}",
    )


LATER = [
    _component(
        "denoiser",
        "mlp",
        "net_specs:MlpSpec",
        "mlp:MlpDenoiser",
        "a residual perceptron for vectors",
    ),
    _component(
        "denoiser",
        "dit",
        "net_specs:DiTSpec",
        "dit:DiT",
        "a diffusion transformer over the patches of an image",
    ),
    _component(
        "denoiser",
        "edm",
        "later_specs:EdmSpec",
        "edm:Edm",
        "any denoiser with the preconditioning of EDM",
    ),
    Component(
        "noise_schedule",
        "ddpm.rectified",
        spec="corekit_ddpm_improved.later_specs:RectifiedSpec",
        target="corekit.diffusion.schedules:Rectified",
        summary="straight lines between data and noise (rectified flow)",
        conformance="corekit_ddpm_improved.conformance_later:RECTIFIED",
    ),
    _component(
        "noise_schedule",
        "edm_sigmas",
        "later_specs:EdmSigmasSpec",
        "edm:EdmSigmas",
        "noise added to the data as they are, up to many times their size (EDM)",
    ),
    _component(
        "noise_schedule",
        "vdm_schedule",
        "later_specs:VdmScheduleSpec",
        "vdm:VdmSchedule",
        "a log-SNR that falls in a straight line (VDM)",
    ),
    _component(
        "denoising_loss",
        "velocity",
        "later_specs:VelocitySpec",
        "weighted_losses:Velocity",
        "squared error of the velocity (flow matching)",
    ),
    _component(
        "denoising_loss",
        "min_snr",
        "later_specs:MinSnrSpec",
        "weighted_losses:MinSnr",
        "squared error of the data, its weight the SNR up to a bound",
    ),
    _component(
        "denoising_loss",
        "edm_loss",
        "later_specs:EdmLossSpec",
        "edm:EdmLoss",
        "squared error of what the network of EDM says",
    ),
    _component(
        "denoising_loss",
        "vdm",
        "later_specs:VdmSpec",
        "vdm:Vdm",
        "the variational bound in continuous time, in bits per dimension",
    ),
]
