"""Every component keeps every promise of its kind, in each of its variants."""

from corekit.testing import parametrize_checks


@parametrize_checks("denoiser", "pointcloud.pointwise")
def test_pointwise(check):
    check()


@parametrize_checks("noise_schedule", "pointcloud.variance_schedule")
def test_variance_schedule(check):
    check()


@parametrize_checks("encoder", "pointcloud.pointnet")
def test_pointnet(check):
    check()


@parametrize_checks("prior", "pointcloud.dpm_normal")
def test_dpm_normal(check):
    check()


@parametrize_checks("dataset", "pointcloud.hdf5")
def test_hdf5(check):
    check()


@parametrize_checks("metric", "pointcloud.chamfer")
def test_chamfer(check):
    check()


@parametrize_checks("metric", "pointcloud.one_nna")
def test_one_nna(check):
    check()


@parametrize_checks("importer", "pointcloud.dpm")
def test_the_spec_of_the_importer(check):
    check()
