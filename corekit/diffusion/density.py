"""Diffusion as a density: what training minimises, and samples; prior or decoder of any model."""

import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.diffusion.bound import Bound, FixedVariance, variational_bound
from corekit.diffusion.bound_estimate import has_bound, log_prob_by_bound
from corekit.diffusion.guidance import Guidance
from corekit.diffusion.predicting import predict_with, self_conditioned
from corekit.diffusion.process import check_predicts, prediction_of, q_sample
from corekit.diffusion.ranges import Clip, clipping
from corekit.diffusion.samplers import Ancestral
from corekit.diffusion.schedules import end_of, warn_if_short_of_noise
from corekit.diffusion.timesteps import Uniform
from corekit.errors import NoDensity, UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.density import Decoder, Density
from corekit.interfaces.draws import Draws, Randomness
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import Condition, LossTerms, NoiseLevel
from corekit.interfaces.sampler import Callback, Predict, Sampler
from corekit.interfaces.timestep_sampler import TimestepSampler


class DiffusionDensity(Density):
    r"""A denoiser, trained at random noise levels and sampled from noise to data.

    .. math::
        L(x_0) = E_{t, \varepsilon}\big[w_t\, \ell(\text{net}(x_t, t, c), x_0, \varepsilon)\big],
        \qquad x_t = \alpha_t x_0 + \sigma_t \varepsilon

    The loss is an error of one denoising, not nats. Of data on a schedule of steps, or on one that
    starts with a little noise, the density has a variational bound, and `log_prob` is an unbiased
    estimate of it in ``bound_calls`` calls of the denoiser. Training draws "t", then "eps";
    sampling draws "x_T", then what the sampler draws.

    Args:
        event_shape: Shape of x without the batch.
        condition: name of a `Condition` field -> its shape; None if unconditional.
        denoiser: Factory, called with event_shape, condition_shapes and out_channels; None for
            out_channels means as many as the event has.
        schedule: How much noise at which time.
        loss: Scores one prediction.
        timesteps: Draws the levels of a training step; uniformly unless given.
        sampler: How samples are made; `Ancestral` unless given.
        fixed_variance: Of the steps back, for the bound, where it is not learned: "small", right
            for data of no variance, or "large", for data of unit variance.
        clip: Keep what is predicted in the range of the data while samples are made: "static" cuts
            off, "dynamic" shrinks, "auto" is static where ``data`` have a range
            (`corekit.diffusion.ranges`); None leaves them.
        drop_condition: Share of the rows that training shows without their condition; evaluation
            shows all of them.
        guidance: Of samples, by what the denoiser says without a condition; none unless given.
        data: What x is, where it is data: the bound needs to know its levels. Latents have none.

    Shape: x ``(B, *event_shape)``; loss ``(B,)``, in the unit of the denoising loss.

    Raises:
        UsageError: If eps is predicted but the schedule ends without signal, or the denoiser
            learns variances that the loss does not train.

    Source: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, alg. 1-2,
        https://arxiv.org/abs/2006.11239.
    """

    bound_calls = 10

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        denoiser: Callable[..., Denoiser],
        schedule: NoiseSchedule,
        loss: DenoisingLoss,
        timesteps: TimestepSampler | None = None,
        sampler: Sampler | None = None,
        fixed_variance: FixedVariance = "small",
        clip: Clip | None = "auto",
        drop_condition: float = 0.0,
        guidance: Guidance | None = None,
        data: DataSpec | None = None,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.condition_shapes = dict(condition or {})
        self.denoiser = denoiser(
            event_shape=self.event_shape, condition_shapes=self.condition_shapes, out_channels=None
        )
        self.free_axes = self.denoiser.free_axes
        self.schedule = schedule
        self.denoising_loss = loss
        self.timesteps = Uniform() if timesteps is None else timesteps
        self.sampler = Ancestral() if sampler is None else sampler
        self.data, self.fixed_variance = data, fixed_variance
        self.drop_condition = drop_condition
        self.guidance = Guidance() if guidance is None else guidance
        self.clipped = clipping(type(self).__name__, clip, data)
        self.kind = Likelihood.BOUND if has_bound(schedule, data) else Likelihood.NONE
        _check_variance(self.denoiser, loss)
        loss.prepare(schedule, data)
        self.timesteps.prepare(schedule)
        check_predicts(type(self).__name__, self.denoiser.predicts, end_of(schedule))
        warn_if_short_of_noise(schedule)

    def _loss(self, x: Tensor, condition: Condition | None, draws: Draws) -> LossTerms:
        level, weight = self.timesteps.sample(
            len(x), self.schedule, draws, x.device, rank=draws.rank, world=draws.world
        )
        eps = draws.normal("eps", tuple(x.shape), x)
        seen_level = _in_precision_of(x, level)
        x_t = q_sample(x, eps, seen_level)
        if condition is not None and self.drop_condition > 0 and self.training:
            condition = condition.drop(draws.uniform("drop", (len(x),), x) < self.drop_condition)
        previous = self._earlier_estimate(x_t, seen_level, condition, draws)
        output = self.denoiser(x_t, seen_level, condition, previous=previous)
        prediction = prediction_of(self.denoiser, output, x_t, seen_level)
        loss = self.denoising_loss(prediction, x, x_t, eps, seen_level)
        name = self.denoising_loss.name
        t = level.time if level.step is None else level.step
        return LossTerms(
            total=loss if weight is None else weight * loss,
            terms={name: loss},
            seen={"timesteps": (t, loss.detach())},
            units={name: self.denoising_loss.unit},
        )

    @torch.no_grad()
    def _earlier_estimate(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, draws: Draws
    ) -> Tensor | None:
        """What a self-conditioned denoiser sees: its x_0, or zeros in every second row."""
        if not self.denoiser.self_condition:
            return None
        output = self.denoiser(x_t, level, condition)
        x_0 = prediction_of(self.denoiser, output, x_t, level).x_0
        coin = draws.uniform("self_condition", (len(x_t),), x_t)
        keep = (coin < 0.5).reshape(-1, *(1,) * (x_t.ndim - 1))
        return torch.where(keep, x_0, torch.zeros_like(x_0))

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        predict = predict_with(self.denoiser.prepared(condition), condition)
        how = self.fixed_variance, self.bound_calls
        return log_prob_by_bound(predict, self.schedule, x, self.data, *how, draws)

    def bound(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> Bound:
        """A draw of the whole variational bound of data, term by term: T calls of the denoiser.

        Raises:
            NoDensity: If there is none, or it is not a sum over steps.
        """
        self._check("x", x, condition)
        if self.kind is Likelihood.NONE or not isinstance(self.schedule, DiscreteSchedule):
            raise NoDensity(f"{type(self).__name__}: it has no bound of steps. {self._why()}")
        predict = predict_with(self.denoiser.prepared(condition), condition)
        found = variational_bound(
            predict,
            self.schedule,
            self.standardized(x),
            self.data,
            variance=self.fixed_variance,
            generator=generator,
        )
        nats = self.log_prob_of_data(LogProb(torch.zeros_like(found.total)), x).value
        return found.shifted(-nats / (math.prod(x.shape[1:]) * math.log(2)))

    @torch.no_grad()
    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        *,
        sampler: Sampler | None = None,
        callback: Callback | None = None,
        around: Callable[[Predict], Predict] | None = None,
        guidance: float | None = None,
        **options: Any,
    ) -> Tensor:
        """Options: another sampler, a callback per step, another scale of guidance, and a wrapper
        of predict, outside of clipping (`corekit.diffusion.guidance.classifier_guided`).
        """  # noqa: D205
        if options:
            raise TypeError(
                f"{type(self).__name__}.sample: got unexpected options {', '.join(options)}. "
                "Known: sampler, callback, around, guidance."
            )
        sampler = self.sampler if sampler is None else sampler
        how = self.guidance if guidance is None else self.guidance._replace(scale=guidance)
        predict: Predict = how.of(self.denoiser, condition)
        if self.denoiser.self_condition:
            predict = self_conditioned(predict)
        if self.clipped is not None:
            predict = self.clipped(predict)
        end = end_of(self.schedule)
        spread = temperature * torch.hypot(end.alpha, end.sigma).item()  # 1 if variance-preserving
        return sampler(
            predict if around is None else around(predict),
            self.schedule,
            spread * draws.normal("x_T", (n, *shape), self._like()),
            times=sampler.times(self.schedule),
            generator=draws,
            callback=callback,
        )

    def _like(self) -> Tensor:
        """A tensor with the dtype and device of the denoiser."""
        tensors = chain(self.denoiser.parameters(), self.denoiser.buffers())
        return next((v for v in tensors if v.is_floating_point()), torch.empty(0))

    def _why(self) -> str:
        return "A diffusion loss is an error, not nats. Use its loss and its samples."


class DiffusionDecoder(DiffusionDensity, Decoder):
    """Diffusion over data given a latent, p(x | z).

    Args:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch; the denoiser sees z as ``condition.vector``.
        denoiser, schedule, loss, timesteps, sampler: As of `DiffusionDensity`.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        *,
        denoiser: Callable[..., Denoiser],
        schedule: NoiseSchedule,
        loss: DenoisingLoss,
        timesteps: TimestepSampler | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        super().__init__(
            event_shape,
            {"vector": tuple(latent_shape)},
            denoiser=denoiser,
            schedule=schedule,
            loss=loss,
            timesteps=timesteps,
            sampler=sampler,
        )


def _check_variance(denoiser: Denoiser, loss: DenoisingLoss) -> None:
    if denoiser.learns_variance and not loss.trains_variance:
        raise UsageError(
            f"{type(denoiser).__name__}: a variance that is learned must have a gradient, got "
            f"{type(loss).__name__}, which gives it none. Use a loss with the variational bound "
            "(ddpm.hybrid, ddpm.kl), or a denoiser of fixed variances."
        )


def _in_precision_of(x: Tensor, level: NoiseLevel) -> NoiseLevel:
    """The level in the dtype of x, float32 at least: half precision would merge neighbours."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return level.map(lambda column: column.to(wide) if column.is_floating_point() else column)
