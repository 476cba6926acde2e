"""Diffusion as a prior: of latents that are given, or of latents that learn beside it."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from corekit.data_spec import Shape
from corekit.diffusion.bound_estimate import bound_of_one_step, bounds_densities
from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.predicting import predict_with
from corekit.errors import UsageError
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Condition, LossTerms

TrainBy = Literal["error", "bound"]


class DiffusionPrior(DiffusionDensity, Prior):
    r"""Diffusion over latents or data, p(x) or p(x | condition): see `DiffusionDensity`.

    By its error it is of the kind ``none``, for latents that are points or stay as they are: beside
    an error, the entropy of a posterior, in nats, is worth any spread. By its bound it is a density
    of the kind ``bound``, and the KL of a posterior to it is one on the true KL: with
    :math:`E[B(z)] \ge -\log p(z)`, the bound of one step that is drawn,

    .. math:: \mathrm{KL}(q \,\|\, p) \le E_q[B(z)] - H[q]

    Args:
        event_shape, condition, denoiser, schedule, loss, timesteps, sampler: As of
            `DiffusionDensity`.
        train_by: "error", the loss; or "bound", nats, of the denoiser and of what gave the latents.
            The bound draws its steps itself and leaves ``loss`` and ``timesteps`` aside.
        options: As of `DiffusionDensity`.

    Raises:
        UsageError: If it is to train by a bound that its schedule does not have.
    """

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        train_by: TrainBy = "error",
        **options: Any,
    ) -> None:
        super().__init__(event_shape, condition, **options)
        if train_by not in ("error", "bound"):
            raise UsageError(f"DiffusionPrior: train_by must be error or bound, got {train_by!r}.")
        if train_by == "bound" and not bounds_densities(self.schedule):
            raise UsageError(
                "DiffusionPrior: train_by 'bound' must have a schedule of steps, or one with noise "
                f"at time 0, got {type(self.schedule).__name__}. Use ddpm.cosine, or 'error'."
            )
        self.train_by = train_by
        if train_by == "bound":
            self.kind = Likelihood.BOUND

    def _loss(self, x: Tensor, condition: Condition | None, draws: Draws) -> LossTerms:
        if self.train_by == "error":
            return super()._loss(x, condition, draws)
        predict = predict_with(self.denoiser, condition)
        nats = bound_of_one_step(
            predict, self.schedule, x, variance=self.fixed_variance, draws=draws
        )
        return LossTerms(nats, {"bound": nats}, units={"bound": "nats"})
