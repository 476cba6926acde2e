"""Every component keeps every promise of its kind, in each of its variants."""

from corekit.testing import parametrize_checks


@parametrize_checks("denoiser", "pointcloud.pointwise")
def test_pointwise(check):
    check()


@parametrize_checks("denoiser", "pointcloud.set_transformer")
def test_set_transformer(check):
    check()


@parametrize_checks("encoder", "pointcloud.picture")
def test_picture(check):
    check()


@parametrize_checks("dataset", "pointcloud.partial")
def test_partial(check):
    check()


@parametrize_checks("dataset", "pointcloud.meshes")
def test_meshes(check):
    check()


@parametrize_checks("dataset", "pointcloud.views")
def test_views(check):
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


@parametrize_checks("metric", "pointcloud.coverage")
def test_coverage(check):
    check()


@parametrize_checks("metric", "pointcloud.mmd")
def test_mmd(check):
    check()


@parametrize_checks("metric", "pointcloud.jsd")
def test_jsd(check):
    check()


@parametrize_checks("metric", "pointcloud.emd")
def test_emd(check):
    check()


@parametrize_checks("metric", "pointcloud.f_score")
def test_f_score(check):
    check()
