"""A diffusion model of the data as a whole model."""

from collections.abc import Callable

from corekit.data_spec import DataSpec, Support
from corekit.diffusion.bound import FixedVariance
from corekit.diffusion.density import DiffusionDensity
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.model import DensityModel
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.sampler import Sampler
from corekit.interfaces.timestep_sampler import TimestepSampler


class DiffusionModel(DensityModel):
    """A `DiffusionDensity` over the data, given the conditions that come with them.

    Args:
        data: What it is a model of; its ``condition_shapes`` are what the denoiser is given.
        denoiser: Factory, called with event_shape, condition_shapes and out_channels.
        schedule: How much noise at which time.
        loss: Scores one prediction.
        timesteps: Draws the levels of a training step; uniformly unless given.
        sampler: How samples are made; ancestral unless given.
        fixed_variance: Of the steps back, for the bound, where it is not learned.

    Shape: batch.x ``(B, *data.event_shape)``; loss ``(B,)``, in the unit of the denoising loss.

    Raises:
        UsageError: If the data are codes, which cannot be noised.

    Source: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020,
        https://arxiv.org/abs/2006.11239.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        denoiser: Callable[..., Denoiser],
        schedule: NoiseSchedule,
        loss: DenoisingLoss,
        timesteps: TimestepSampler | None = None,
        sampler: Sampler | None = None,
        fixed_variance: FixedVariance = "small",
    ) -> None:
        if data.support is Support.CODES:
            raise UsageError(
                "DiffusionModel: the data must be numbers that noise can be added to, got codes. "
                "Embed them first."
            )
        density = DiffusionDensity(
            data.event_shape,
            data.condition_shapes,
            denoiser=denoiser,
            schedule=schedule,
            loss=loss,
            timesteps=timesteps,
            sampler=sampler,
            fixed_variance=fixed_variance,
            data=data,
        )
        super().__init__(data, density)
