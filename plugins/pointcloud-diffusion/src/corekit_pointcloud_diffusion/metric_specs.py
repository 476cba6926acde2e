"""The specs of the metrics. No torch here."""

from typing import Literal

from pydantic import Field

from corekit.spec import Spec

Normalise = Literal["shape_bbox", "shape_unit", "none"]
Distance = Literal["chamfer", "emd", "emd_squared", "emd_pointflow", "emd_pvd"]

_NORMALISE = "how each cloud is normalised before it is compared"
_OWN_SIZE = "bring each shape, and its reconstruction with it, to this size first"
_DEVICE = "where the approximations of EMD are computed"


class ChamferSpec(Spec):
    """Chamfer distance of reconstructions."""

    type: Literal["pointcloud.chamfer"] = "pointcloud.chamfer"
    normalise: Normalise = Field("none", description=_OWN_SIZE)


class EmdSpec(Spec):
    """Earth mover's distance of reconstructions."""

    type: Literal["pointcloud.emd"] = "pointcloud.emd"
    kind: Literal["exact", "squared", "pointflow", "pvd"] = Field(
        "exact",
        description="optimal mean distance, optimal mean squared distance, or an approximation "
        "that papers call EMD",
    )
    normalise: Normalise = Field("none", description=_OWN_SIZE)
    device: str = Field("cpu", description=_DEVICE)


class FScoreSpec(Spec):
    """F-score of reconstructions."""

    type: Literal["pointcloud.f_score"] = "pointcloud.f_score"
    threshold: float = Field(0.001, gt=0, description="what is near")
    squared: bool = Field(True, description="compare the threshold with the squared distance")
    normalise: Normalise = Field("none", description=_OWN_SIZE)


class ComparisonSpec(Spec):
    """What 1-NNA, coverage and MMD have in common."""

    distance: Distance = Field("chamfer", description="of two clouds")
    normalise: Normalise = Field("shape_bbox", description=_NORMALISE)
    subsets: int = Field(20, ge=1, description="subsets for mean and sd")
    points: int | None = Field(
        None, ge=1, description="points compared per cloud; all if not given"
    )
    seed: int = Field(0, description="of subsets and points")
    cache: str | None = Field(
        None, description="folder that keeps distances, so that a killed evaluation goes on"
    )
    workers: int = Field(1, ge=1, description="threads")
    device: str = Field("cpu", description=_DEVICE)


class OneNnaSpec(ComparisonSpec):
    """1-nearest-neighbour accuracy between samples and held-out shapes."""

    type: Literal["pointcloud.one_nna"] = "pointcloud.one_nna"


class CoverageSpec(ComparisonSpec):
    """Share of held-out shapes that are the nearest to some sample."""

    type: Literal["pointcloud.coverage"] = "pointcloud.coverage"


class MmdSpec(ComparisonSpec):
    """Mean distance of a held-out shape to its nearest sample."""

    type: Literal["pointcloud.mmd"] = "pointcloud.mmd"


class JsdSpec(Spec):
    """Divergence between where samples and held-out shapes have their points."""

    type: Literal["pointcloud.jsd"] = "pointcloud.jsd"
    normalise: Normalise = Field("shape_bbox", description=_NORMALISE)
    scale: float | None = Field(
        None, gt=0, description="brings clouds into the cube from -1/2 to 1/2; fits if not given"
    )
    resolution: int = Field(28, ge=2, description="lattice points per axis")
    points: int | None = Field(None, ge=1, description="points per cloud; all if not given")
    seed: int = Field(0, description="of clouds and points")
