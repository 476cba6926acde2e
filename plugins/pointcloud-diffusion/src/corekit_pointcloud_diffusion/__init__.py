"""Point-cloud VAEs with diffusion decoders. Imports neither torch nor pydantic."""

from corekit.registry import Component, hookimpl

API = "1.0"


def _component(
    kind: str, name: str, spec: str, target: str, summary: str, conformance: str | None = None
) -> Component:
    return Component(
        kind,
        f"pointcloud.{name}",
        spec=f"corekit_pointcloud_diffusion.specs:{spec}",
        target=target
        if target.startswith("corekit.")
        else f"corekit_pointcloud_diffusion.{target}",
        summary=summary,
        conformance=conformance and f"corekit_pointcloud_diffusion.conformance:{conformance}",
    )


@hookimpl
def corekit_components() -> list[Component]:
    """What this package offers."""
    return [
        _component(
            "encoder",
            "pointnet",
            "PointNetSpec",
            "encoder:PointNetEncoder",
            "order-free features of points, then mean and log-variance",
            "POINTNET",
        ),
        _component(
            "denoiser",
            "pointwise",
            "PointwiseSpec",
            "denoiser:PointwiseNet",
            "one gated perceptron for every point",
            "POINTWISE",
        ),
        _component(
            "noise_schedule",
            "variance_schedule",
            "VarianceScheduleSpec",
            "schedule:VarianceSchedule",
            "literal linear betas, 200 steps to 0.05",
            "VARIANCE_SCHEDULE",
        ),
        _component(
            "prior",
            "dpm_normal",
            "DpmNormalSpec",
            "reference:DpmNormal",
            "standard normal with the reference's wrong loss constant (parity)",
        ),
        _component(
            "dataset",
            "hdf5",
            "Hdf5Spec",
            "corekit.data.hdf5:Hdf5PointClouds",
            "point clouds of an HDF5 file: group, split, array",
            "HDF5",
        ),
        _component(
            "metric",
            "chamfer",
            "ChamferSpec",
            "metrics:Chamfer",
            "Chamfer distance of reconstructions to their own shape and to another",
        ),
        _component(
            "metric",
            "one_nna",
            "OneNnaSpec",
            "metrics:OneNna",
            "1-nearest-neighbour accuracy with chance, ceiling and floor",
        ),
        _component(
            "importer",
            "dpm",
            "DpmImporterSpec",
            "importer:DpmImporter",
            "checkpoints of diffusion-point-cloud: FlowVAE, GaussianVAE, AutoEncoder",
        ),
    ]
