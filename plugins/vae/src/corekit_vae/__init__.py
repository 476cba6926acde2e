"""Variational auto-encoders as parts. Imports neither torch nor pydantic."""

from corekit.registry import Component, hookimpl
from corekit_vae.offered_latents import LATENTS
from corekit_vae.offered_networks import NETWORKS
from corekit_vae.offered_training import TRAINING

API = "1.0"


def _component(kind: str, name: str, spec: str, target: str, summary: str) -> Component:
    """A component; ``spec`` is "module:Name": the class Name + Spec, and the conformance Name.

    Importers have no conformance: the kit has no suite for them.
    """
    module, _, spec = spec.partition(":")
    checks = None if kind == "importer" else f"corekit_vae.conformance:{spec}"
    return Component(
        kind,
        f"vae.{name}",
        spec=f"corekit_vae.specs.{module}:{spec}Spec",
        target=f"corekit_vae.{target}",
        summary=summary,
        conformance=checks,
    )


COMPONENTS = [_component(*row) for row in (*NETWORKS, *LATENTS, *TRAINING)]


@hookimpl
def corekit_components() -> list[Component]:
    """The components of this package."""
    return COMPONENTS
