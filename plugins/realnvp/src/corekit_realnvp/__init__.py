"""RealNVP coupling flows. Imports neither torch nor pydantic: `corekit plugins` stays fast."""

from corekit.registry import Component, hookimpl

API = "1.0"


@hookimpl
def corekit_components() -> list[Component]:
    """What this package offers."""
    return [
        Component(
            "bijector",
            "realnvp.affine_coupling",
            spec="corekit_realnvp.specs:AffineCouplingSpec",
            target="corekit_realnvp.coupling:AffineCoupling",
            summary="scale and shift one half, conditioned on the other",
            conformance="corekit_realnvp.conformance:AFFINE_COUPLING",
        ),
    ]
