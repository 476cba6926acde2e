"""The probability-flow ODE of a denoiser as a bijector."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from corekit.data_spec import Shape
from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.predicting import predict_with
from corekit.diffusion.prior import DiffusionPrior
from corekit.diffusion.probability_flow import solve
from corekit.errors import UsageError
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.draws import Randomness
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import Condition, LossTerms
from corekit.interfaces.timestep_sampler import TimestepSampler
from corekit.nn.ode import TABLEAUS, Trace
from corekit_ddpm_improved.losses import Mse

Solver = Literal["rk4", "dopri5", "midpoint", "euler"]


class ProbabilityFlow(Bijector):
    r"""From data to noise along the ODE of a diffusion model.

    .. math:: \frac{dy}{d\phi} = \cos\phi\; \hat\varepsilon - \sin\phi\; \hat x_0

    See `corekit.diffusion.probability_flow`. In a flow with ``train_by: denoising`` it is trained
    as the diffusion model that it is, without solving anything; its likelihood, its latents and its
    samples are those of a flow. Its map is exact up to the solver: compare two numbers of steps.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of the context, or None; the denoiser sees it as ``vector``.
        denoiser: Factory, called with event_shape, condition_shapes and out_channels.
        schedule: How much noise at which time.
        loss: What denoising is trained by; the squared error of v unless given.
        timesteps: Draws the levels of a training step; uniformly unless given.
        solver: rk4, dopri5, midpoint or euler.
        steps: Of its grid.
        trace: exact, in D products with the Jacobian, or hutchinson, an unbiased estimate.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Raises:
        UsageError: If an option is out of range.

    Source: Song et al., Score-Based Generative Modeling through SDEs, ICLR 2021, section 4.3,
        https://arxiv.org/abs/2011.13456.
    """

    iterative = frozenset({"forward", "inverse"})

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        denoiser: Callable[..., Denoiser],
        schedule: NoiseSchedule,
        loss: DenoisingLoss | None = None,
        timesteps: TimestepSampler | None = None,
        solver: Solver = "rk4",
        steps: int = 50,
        trace: Trace = "exact",
    ) -> None:
        super().__init__()
        if solver not in TABLEAUS or steps < 1:
            raise UsageError(
                f"ProbabilityFlow: solver must be one of {', '.join(TABLEAUS)} and steps at least "
                f"1, got {solver!r} and {steps}."
            )
        if trace not in ("exact", "hutchinson"):
            raise UsageError(f"ProbabilityFlow: trace must be exact or hutchinson, got {trace!r}.")
        self.event_shape = tuple(event_shape)
        given = {} if context_shape is None else {"vector": tuple(context_shape)}
        self.context_shape = given.get("vector")
        self.solver, self.steps, self.trace = solver, steps, trace
        self.logdet_kind = Likelihood.EXACT if trace == "exact" else Likelihood.UNBIASED
        self.diffusion: DiffusionDensity = DiffusionPrior(
            self.event_shape,
            given,
            denoiser=denoiser,
            schedule=schedule,
            loss=Mse("v") if loss is None else loss,
            timesteps=timesteps,
        )

    def denoising_loss(
        self, x: Tensor, context: Tensor | None = None, draws: Randomness = None
    ) -> LossTerms:
        """What its diffusion model minimises."""
        terms = self.diffusion.loss(x, _condition(context), draws)
        return terms._replace(seen={f"diffusion.{path}": v for path, v in terms.seen.items()})

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._solve(x, context, to_data=False)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._solve(z, context, to_data=True)

    def _solve(self, y: Tensor, context: Tensor | None, *, to_data: bool) -> tuple[Tensor, Tensor]:
        condition = _condition(context)
        return solve(
            predict_with(self.diffusion.denoiser.prepared(condition), condition),
            self.diffusion.schedule,
            y,
            to_data=to_data,
            solver=self.solver,
            steps=self.steps,
            trace=self.trace,
        )


def _condition(context: Tensor | None) -> Condition | None:
    return None if context is None else Condition(vector=context)
