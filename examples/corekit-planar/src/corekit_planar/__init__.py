"""Planar flows. Imports neither torch nor pydantic: `corekit plugins` stays fast."""

from corekit.registry import Component, hookimpl

API = "1.0"


@hookimpl
def corekit_components() -> list[Component]:
    """What this package offers."""
    return [
        Component(
            "bijector",
            "planar.planar",
            spec="corekit_planar.specs:PlanarSpec",
            target="corekit_planar.planar:Planar",
            summary="push the data along one direction, across a soft plane",
            conformance="corekit_planar.conformance:HOW",
        ),
    ]
