"""A diffusion model of the data as a whole model."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Support
from corekit.diffusion.bound import FixedVariance
from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.guidance import Guidance
from corekit.diffusion.predicting import predict_with
from corekit.diffusion.probability_flow import solve
from corekit.diffusion.ranges import Clip
from corekit.diffusion.schedules import end_of
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.draws import Randomness
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.model import DensityModel
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import Condition
from corekit.interfaces.sampler import Sampler
from corekit.interfaces.timestep_sampler import TimestepSampler
from corekit.nn.lines import great_circle


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
        clip: How predictions are kept in the range of the data while samples are made; None: not.
        drop_condition: Share of the rows that training shows without their condition.
        guidance: Scale w of classifier-free guidance of samples (`corekit.diffusion.guidance`).
        guidance_interval: Ratios sigma / alpha between which to guide; None: everywhere.
        guidance_rescale: How far the spread of guided predictions is brought back, 0 to 1.

    Shape: batch.x ``(B, *data.event_shape)``; loss ``(B,)``, in the unit of the denoising loss.

    Raises:
        UsageError: If the data are codes, which cannot be noised.

    Source: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020,
        https://arxiv.org/abs/2006.11239.
    """

    density: DiffusionDensity

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
        clip: Clip | None = "auto",
        drop_condition: float = 0.0,
        guidance: float = 0.0,
        guidance_interval: tuple[float, float] | None = None,
        guidance_rescale: float = 0.0,
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
            drop_condition=drop_condition,
            guidance=Guidance(guidance, guidance_interval, guidance_rescale),
            clip=clip,
            data=data,
        )
        super().__init__(data, density)

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """The noise that the probability-flow ODE takes each row to, ``(B, *event_shape)``."""
        return self._solved(self.density.standardized(x), condition, to_data=False)

    @torch.no_grad()
    def decode(
        self,
        z: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """The data that the ODE takes noise to: the way back of `encode`.

        Options: ``solver`` and ``steps`` of `corekit.diffusion.probability_flow.solve`; or a
        ``sampler`` that draws nothing, which follows the same ODE in fewer steps.

        Raises:
            UsageError: If the sampler draws.
        """
        sampler = options.pop("sampler", None)
        if sampler is None:
            return self.density.restored(self._solved(z, condition, to_data=True, **options))
        if sampler.noise_share != 0:
            raise UsageError(
                "DiffusionModel: decode must have a sampler that draws nothing (ddim, dpm_solver), "
                f"got {sampler}. Its samples would not belong to the latents."
            )
        predict = predict_with(self.density.denoiser.prepared(condition), condition)
        schedule = self.density.schedule
        end = end_of(schedule)
        x_T = torch.hypot(end.alpha, end.sigma).item() * z
        made = sampler(predict, schedule, x_T, times=sampler.times(schedule), generator=generator)
        return self.density.restored(made)

    def _solved(self, y: Tensor, condition: Condition | None, **options: Any) -> Tensor:
        predict = predict_with(self.density.denoiser.prepared(condition), condition)
        return solve(predict, self.density.schedule, y, **options)[0]

    def between(self, start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        """On the great circle: what lies between two draws of noise is as long as they are."""
        return great_circle(start, end, share)
