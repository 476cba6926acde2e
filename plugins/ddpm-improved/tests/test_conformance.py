"""Every component keeps every promise of its kind, in each of its variants."""

from corekit_ddpm_improved.conformance import UNET_OF_CLASSES
from corekit_ddpm_improved.unet import UNet

from corekit.testing import parametrize_checks


@parametrize_checks("noise_schedule", "ddpm.linear")
def test_linear(check):
    check()


@parametrize_checks("noise_schedule", "ddpm.cosine")
def test_cosine(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.mse")
def test_mse(check):
    check()


@parametrize_checks("denoiser", "ddpm.unet")
def test_unet(check):
    check()


@parametrize_checks("denoiser", UNet, how=UNET_OF_CLASSES)
def test_unet_of_classes(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.hybrid")
def test_hybrid(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.rescaled_mse")
def test_rescaled_mse(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.kl")
def test_kl(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.rescaled_kl")
def test_rescaled_kl(check):
    check()
