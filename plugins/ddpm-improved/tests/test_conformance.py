"""Every component keeps every promise of its kind, in each of its variants."""

from functools import partial

from corekit_ddpm_improved.unet import UNet

from corekit.testing import Conformance, parametrize_checks

CLASSES = partial(UNet, channels=2, multipliers=(1, 1), blocks=1, heads=1, classes=2)
LABELLED = Conformance(
    given=(
        {
            "event_shape": (1, 4, 4),
            "condition_shapes": {"labels": (), "image": (2, 2, 2)},
            "out_channels": None,
        },
    ),
)
LEARNED = partial(UNet, channels=2, multipliers=(1,), blocks=1, heads=1, variance="range")
PLAIN = Conformance(
    given=({"event_shape": (1, 4, 4), "condition_shapes": {}, "out_channels": None},)
)


@parametrize_checks("noise_schedule", "ddpm.linear")
def test_linear(check):
    check()


@parametrize_checks("noise_schedule", "ddpm.cosine")
def test_cosine(check):
    check()


@parametrize_checks("timestep_sampler", "ddpm.uniform")
def test_uniform(check):
    check()


@parametrize_checks("timestep_sampler", "ddpm.loss_second_moment")
def test_loss_second_moment(check):
    check()


@parametrize_checks("timestep_sampler", "ddpm.antithetic")
def test_antithetic(check):
    check()


@parametrize_checks("timestep_sampler", "ddpm.log_normal")
def test_log_normal(check):
    check()


@parametrize_checks("denoising_loss", "ddpm.mse")
def test_mse(check):
    check()


@parametrize_checks("denoiser", "ddpm.unet")
def test_unet(check):
    check()


@parametrize_checks("denoiser", CLASSES, how=LABELLED)
def test_unet_of_classes_and_images(check):
    check()


@parametrize_checks("denoiser", LEARNED, how=PLAIN)
def test_unet_of_learned_variances(check):
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


@parametrize_checks("bijector", "ddpm.probability_flow")
def test_probability_flow(check):
    check()
