"""Every component keeps every promise of its kind, in each of its variants."""

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
