"""What came after improved diffusion keeps every promise of its kind."""

from functools import partial

from corekit_ddpm_improved.dit import DiT
from corekit_ddpm_improved.mlp import MlpDenoiser

from corekit.testing import Conformance, parametrize_checks

OF_CLASSES = {"condition_shapes": {"labels": (), "vector": (2,)}, "out_channels": None}
VECTORS = Conformance(given=({"event_shape": (2,), **OF_CLASSES},))
IMAGES = Conformance(given=({"event_shape": (1, 2, 4), **OF_CLASSES},))
MLP = partial(MlpDenoiser, hidden=8, depth=1, classes=2)
DIT = partial(DiT, hidden=8, depth=1, heads=2, classes=2, self_condition=True)


@parametrize_checks("denoiser", "ddpm.mlp")
def test_mlp(check):
    check()


@parametrize_checks("denoiser", MLP, how=VECTORS)
def test_mlp_of_classes(check):
    check()


@parametrize_checks("denoiser", "ddpm.dit")
def test_dit(check):
    check()


@parametrize_checks("denoiser", DIT, how=IMAGES)
def test_dit_of_classes(check):
    check()


@parametrize_checks("denoiser", "ddpm.edm")
def test_edm(check):
    check()


@parametrize_checks("noise_schedule", "ddpm.rectified")
def test_rectified(check):
    check()


@parametrize_checks("noise_schedule", "ddpm.edm_sigmas")
def test_edm_sigmas(check):
    check()


@parametrize_checks("noise_schedule", "ddpm.vdm_schedule")
def test_vdm_schedule(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.velocity")
def test_velocity(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.min_snr")
def test_min_snr(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.edm_loss")
def test_edm_loss(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.vdm")
def test_vdm(check):
    check()
