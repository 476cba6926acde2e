"""Point-cloud VAEs with diffusion decoders. Imports neither torch nor pydantic."""

from corekit.registry import Component, hookimpl

API = "1.0"


def _component(
    kind: str, name: str, spec: str, target: str, summary: str, conformance: str | None = None
) -> Component:
    return Component(
        kind,
        f"pointcloud.{name}",
        spec="corekit_pointcloud_diffusion." + (spec if ":" in spec else f"specs:{spec}"),
        target=target
        if target.startswith("corekit.")
        else f"corekit_pointcloud_diffusion.{target}",
        summary=summary,
        conformance=conformance and f"corekit_pointcloud_diffusion.conformance:{conformance}",
    )


COMPONENTS = [
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
        "denoiser",
        "set_transformer",
        "model_specs:SetTransformerSpec",
        "set_transformer:SetTransformer",
        "points that see each other by way of a few tokens",
        "SET_TRANSFORMER",
    ),
    _component(
        "encoder",
        "picture",
        "model_specs:PictureSpec",
        "picture:PictureEncoder",
        "a small convolutional network from a picture to a vector",
        "PICTURE",
    ),
    _component(
        "dataset",
        "partial",
        "data_specs:PartialSpec",
        "partial:Partial",
        "clouds of another data set, each with a part of it",
        "PARTIAL",
    ),
    _component(
        "dataset",
        "views",
        "data_specs:ViewsSpec",
        "views:Views",
        "clouds of an HDF5 file, each with a picture",
        "VIEWS",
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
        "dataset",
        "meshes",
        "mesh_specs:MeshesSpec",
        "meshes:Meshes",
        "points on the surfaces of meshes: .off, .obj, .ply, .stl",
        "MESHES",
    ),
    _component(
        "metric",
        "chamfer",
        "metric_specs:ChamferSpec",
        "metrics:Chamfer",
        "Chamfer distance of reconstructions to their own shape and to another",
    ),
    _component(
        "metric",
        "one_nna",
        "metric_specs:OneNnaSpec",
        "comparison:OneNna",
        "1-nearest-neighbour accuracy with chance, ceiling and floor; coverage and MMD",
    ),
    _component(
        "metric",
        "coverage",
        "metric_specs:CoverageSpec",
        "comparison:Coverage",
        "share of held-out shapes that are the nearest to some sample",
    ),
    _component(
        "metric",
        "mmd",
        "metric_specs:MmdSpec",
        "comparison:Mmd",
        "mean distance of a held-out shape to its nearest sample",
    ),
    _component(
        "metric",
        "jsd",
        "metric_specs:JsdSpec",
        "jsd:Jsd",
        "divergence between where samples and held-out shapes have their points",
    ),
    _component(
        "metric",
        "emd",
        "metric_specs:EmdSpec",
        "metrics:Emd",
        "earth mover's distance of reconstructions, exact, or two approximations by name",
    ),
    _component(
        "metric",
        "f_score",
        "metric_specs:FScoreSpec",
        "metrics:FScore",
        "share of the points of reconstructions that are where they should be",
    ),
    _component(
        "importer",
        "dpm",
        "DpmImporterSpec",
        "importer:DpmImporter",
        "checkpoints of diffusion-point-cloud: FlowVAE, GaussianVAE, AutoEncoder",
    ),
]


@hookimpl
def corekit_components() -> list[Component]:
    """What this package offers."""
    return COMPONENTS
