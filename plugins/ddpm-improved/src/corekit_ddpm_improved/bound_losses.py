"""Losses made of the variational bound, which train variances too."""

from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import FixedVariance, Levels, levels_of, step_bound
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Predicts
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit_ddpm_improved.losses import Mse


class _OfSteps(DenoisingLoss):
    """A loss that knows the number of steps, and the levels of the data."""

    steps: int
    levels: Levels | None = None
    approximate = False
    """Whether probabilities of levels are those of the reference, which errs by up to 2e-4."""

    def prepare(self, schedule: NoiseSchedule, data: DataSpec | None = None) -> None:
        """Learn both."""
        if not isinstance(schedule, DiscreteSchedule):
            raise UsageError(
                f"{type(self).__name__}: the bound needs a schedule of steps, got "
                f"{type(schedule).__name__}. Use ddpm.linear or ddpm.cosine, or ddpm.mse."
            )
        if data is not None and data.mean is not None and data.levels is not None:
            raise UsageError(
                f"{type(self).__name__}: data with levels must not be standardised, as the bound "
                "counts their bins. Set data.standardize to false."
            )
        self.steps, self.levels = schedule.steps, levels_of(data)

    def bound(
        self,
        prediction: Prediction,
        x_0: Tensor,
        x_t: Tensor,
        level: NoiseLevel,
        variance: FixedVariance = "small",
    ) -> Tensor:
        """The term of the bound at this step."""
        given = prediction, x_0, x_t, level, self.levels, variance
        return step_bound(*given, approximate=self.approximate)


class Kl(_OfSteps):
    r"""The term of the variational bound at the drawn step (`corekit.diffusion.bound`).

    Times the number of steps, its mean over uniformly drawn steps is the bound but for its term of
    the prior, which nothing trains.

    Args:
        rescale: Whether to multiply by the number of steps T: the loss is then the bound.
        variance: small or large, where the denoiser does not learn it.

    Shape: result ``(B,)``, bits per dimension (of densities, where data have no levels).

    Source: Ho et al. 2020, eq. 5; L_vlb of Nichol and Dhariwal, Improved DDPM, ICML 2021, section
        3.4, https://arxiv.org/abs/2102.09672, which wants importance-sampled timesteps.
    """

    name, unit = "vb", "bits per dimension"
    is_error, seeks_mean, trains_variance = False, True, True

    def __init__(self, *, rescale: bool = False, variance: FixedVariance = "small") -> None:
        super().__init__()
        self.rescale, self.variance = rescale, variance

    def forward(
        self, prediction: Prediction, x_0: Tensor, x_t: Tensor, eps: Tensor, level: NoiseLevel
    ) -> Tensor:
        """The term of each row."""
        bound = self.bound(prediction, x_0, x_t, level, self.variance)
        return bound * self.steps if self.rescale else bound


class RescaledKl(Kl):
    """`Kl` times the number of steps: its mean is the bound, L_vlb."""

    def __init__(self, *, variance: FixedVariance = "small") -> None:
        super().__init__(rescale=True, variance=variance)


class Hybrid(_OfSteps):
    r"""A squared error for the mean, and the variational bound for the variance alone.

    .. math:: \ell = \ell_{mse} + \lambda T\, \ell_{vb}

    The mean is held fixed in the second term, so that it learns from the first alone.

    Args:
        target: What the squared error is of.
        vlb_weight: lambda; of 0.001, the bound has a thousandth of its weight.
        rescale: Whether there is a factor T; else it is 1.

    Shape: result ``(B,)``: a squared error per coordinate and bits per dimension, added.

    Source: Nichol and Dhariwal, Improved DDPM, ICML 2021, eq. 16.
    """

    name, unit = "hybrid", "squared error per coordinate + bits per dimension"
    is_error, seeks_mean, trains_variance = False, True, True

    def __init__(
        self, target: Predicts = "eps", *, vlb_weight: float = 0.001, rescale: bool = True
    ) -> None:
        super().__init__()
        if vlb_weight < 0:
            raise UsageError(f"Hybrid: vlb_weight must be at least 0, got {vlb_weight}.")
        self.mse, self.vlb_weight, self.rescale = Mse(target), vlb_weight, rescale

    def forward(
        self, prediction: Prediction, x_0: Tensor, x_t: Tensor, eps: Tensor, level: NoiseLevel
    ) -> Tensor:
        """Both terms of each row."""
        error = self.mse(prediction, x_0, x_t, eps, level)
        if prediction.log_variance is None:
            return error
        fixed = prediction._replace(x_0=prediction.x_0.detach(), eps=prediction.eps.detach())
        bound = self.bound(fixed, x_0, x_t, level)
        return error + self.vlb_weight * (self.steps if self.rescale else 1) * bound


class RescaledMse(Hybrid):
    """`Hybrid` with the weights of improved-diffusion's ``rescale_learned_sigmas``."""

    def __init__(self, target: Predicts = "eps") -> None:
        super().__init__(target)
