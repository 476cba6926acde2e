"""The latent-variable model: encoder, prior and decoder, from any packages."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.density import Decoder, Prior
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.initialization import INIT_ROWS, hands_on, starts_from_data
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.loss import Loss
from corekit.interfaces.model import MAIN, GenerativeModel
from corekit.interfaces.part_loss import PartLoss
from corekit.interfaces.records import Batch, Condition, LossTerms
from corekit.latent.elbo import WeightedElbo
from corekit.latent.fitting import PriorLoss
from corekit.latent.given import Given
from corekit.latent.kl import warn_of_growth
from corekit.latent.lines import Along, latents_between
from corekit.latent.scoring import log_joint
from corekit.spec.given import widened
from corekit.spec.latent import wrong_support

Conditional = Literal["prior", "decoder"]
Samples = Literal["drawn", "means"]


class LatentModel(GenerativeModel):
    r"""p(x) = integral of p(x | z) p(z) over z, trained with an encoder q(z | x).

    .. math:: p(x \mid c) = \int p(x \mid z, e(c))\, p(z \mid e(c))\, dz

    where prior and decoder, or one of them, are ``conditional``: on the vector e of the conditions
    of the data (`Given`). An encoder is offered the conditions themselves.

    Args:
        data: What it is a model of.
        encoder: Factory of q(z | x), called with event_shape.
        decoder: Factory of p(x | z), called with event_shape and latent_shape.
        prior: Factory of p(z), called with event_shape (of z) and condition; None with a point
            posterior makes an auto-encoder.
        loss: What is minimised; the plain ELBO unless given.
        conditional: What is told the conditions of the data: "prior", "decoder".
        classes: Number of classes, if labels are among these conditions (`Given`).
        embed: Factory of an encoder of the image that is one, or else of the vector (`Given`).
        drop_condition: Share of rows that training shows without them, the encoder too.
        samples: What `sample` and `decode` give: x "drawn" from p(x | z), or its "means", where the
            decoder has them: pictures without the noise of the likelihood.

    Shape: batch.x ``(B, *data.event_shape)``; z ``(B, *latent_shape)``.
    Source: Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014,
        https://arxiv.org/abs/1312.6114.
    """

    entry_points = (*GenerativeModel.entry_points, "infer")

    def __init__(
        self,
        data: DataSpec,
        *,
        encoder: Callable[..., Encoder],
        decoder: Callable[..., Decoder],
        prior: Callable[..., Prior] | None = None,
        loss: Loss | None = None,
        conditional: Sequence[Conditional] = (),
        classes: int | None = None,
        embed: Callable[..., Encoder] | None = None,
        drop_condition: float = 0.0,
        samples: Samples = "drawn",
    ) -> None:
        super().__init__()
        self.data, self.conditional, self.samples = data, tuple(conditional), samples
        self.encoder = encoder(event_shape=data.event_shape)
        latent = self.encoder.latent_shape
        self.given: Given | None = None
        if conditional:
            shapes = data.condition_shapes
            self.given = Given(shapes, classes=classes, embed=embed, drop=drop_condition)
        told = {"vector": (self.given.width,)} if self.given and "prior" in conditional else None
        self.prior = None if prior is None else prior(event_shape=latent, condition=told)
        if told is not None and (self.prior is None or "vector" not in self.prior.condition_shapes):
            raise UsageError(
                "LatentModel: a conditional prior must take a vector, got "
                f"{type(self.prior).__name__}. Use a flow of conditional parts, or a diffusion."
            )
        beside = latent
        if self.given is not None and "decoder" in conditional:
            beside = widened(latent, self.given.width)
        self.decoder = decoder(event_shape=data.event_shape, latent_shape=beside)
        self.decoder.prepare(data)
        self.loss = WeightedElbo() if loss is None else loss
        self.phases = self.loss.phases
        if self.prior is not None and self.prior.event_shape != latent:
            raise ShapeError(
                f"LatentModel: the prior must be over latents of shape {latent}, "
                f"got {self.prior.event_shape}."
            )
        if self.prior is not None:
            self.prior.attach(self.encoder)
            lies, lives = self.encoder.latent_support, self.prior.support
            if lies is not lives:
                names = type(self.prior).__name__, lives, type(self.encoder).__name__, lies
                raise ShapeError(f"LatentModel: {wrong_support(*names)}")
            if self.prior.kind is Likelihood.NONE and self.encoder.kind is not Likelihood.NONE:
                warn_of_growth(self.prior)
        both = Likelihood.NONE if self.prior is None else self.prior.kind | self.decoder.kind
        # One draw of z: E[exp(log p(x, z) - log q(z))] = p(x).
        self.kind = both | self.encoder.kind | Likelihood.WEIGHT
        self.loss.prepare(self)

    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """The terms of the loss."""
        if phase != MAIN:
            return self.loss.of_phase(phase, self, batch, as_draws(draws))
        loss = self.loss if self.part_loss is None else self.part_loss
        return loss(self, batch, as_draws(draws))

    def phase_of(self, name: str) -> str:
        """What the loss says of its own parameters; the others are the model's: ``main``."""
        own = name.removeprefix("loss.")
        return MAIN if own == name else self.loss.phase_of(own)

    def narrowed(self, trained: Collection[str]) -> PartLoss | None:
        """The loss of the prior, where nothing else is trained."""
        own = ("prior.",) if "decoder" in self.conditional else ("prior.", "given.")
        if self.prior is None or not all(name.startswith(own) for name in trained):
            return None
        return PriorLoss()

    def standardize(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Let encoder and decoder compute with standardised data."""
        self.encoder.standardize(mean, std)
        self.decoder.standardize(mean, std)

    @hands_on
    @torch.no_grad()
    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Initialise the prior from latents of data; the encoder is left as it was."""
        if self.prior is None or not starts_from_data(self.prior):
            return
        if self.prior.starts_from_x:
            self.prior.initialize(batch.x)
            return
        kept = [buffer.clone() for buffer in self.encoder.buffers()]  # running statistics
        drawn = []
        given = self.for_prior(self.given_of(batch.condition))
        for part in batch.split(len(batch.x) // INIT_ROWS or 1):
            posterior = self.encoder(part.x, part.condition)
            drawn.append(posterior.rsample_and_log_prob(as_draws(draws))[0])
        for buffer, before in zip(self.encoder.buffers(), kept, strict=True):
            buffer.copy_(before)
        self.prior.initialize(torch.cat(drawn).to(batch.x.dtype), given)

    def infer(
        self,
        x: Tensor,
        n: int = 1,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
    ) -> tuple[Tensor, LogProb, LogProb]:
        """n latents per row, log q(z | x) and log p(x, z): ``(n * B, ...)``, draw by draw, nats.

        Raises:
            NoDensity: If the prior or the decoder has no likelihood.
        """
        draws = as_draws(generator)
        z, log_q = self.encoder(x, condition).rsample_and_log_prob(draws, n)
        z = z.to(x.dtype)  # a posterior is kept in float32, its neighbours need not be
        log_px, log_pz = log_joint(self, x, z, n, self.given_of(condition), draws)
        return z, log_q, log_px + log_pz

    def log_prob(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> LogProb:
        """log p(x, z) - log q(z | x) of one draw of z: a weight, whose mean is the ELBO. Nats."""
        _, log_q, log_joint = self.infer(x, 1, condition, generator=generator)
        return LogProb(log_joint.value - log_q.value, self.kind)

    def sample(
        self,
        n: int,
        condition: Condition | None = None,
        *,
        shape: Shape | None = None,
        temperature: float = 1.0,
        generator: Randomness = None,
        truncate: float | None = None,
        **options: Any,
    ) -> Tensor:
        """n samples ``(n, *event_shape)``; temperature and truncation act on the prior."""
        draws = as_draws(generator)
        if self.prior is None:
            raise UsageError(
                "LatentModel: sample must have a prior, got an auto-encoder. Use reconstruct."
            )
        cut: dict[str, Any] = {} if truncate is None else {"truncate": truncate}
        given = self.for_prior(self.given_of(condition))
        z = self.prior.sample(n, given, temperature=temperature, generator=draws, **cut)
        return self.decode(z, condition, generator=draws, shape=shape, **options)

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """The most probable latent of each row, ``(B, *latent_shape)``."""
        with torch.no_grad():
            return self.encoder(x, condition).mode.to(x.dtype)

    def decode(
        self,
        z: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """One draw from p(x | z) or p(x | z, c) per row of z; E[x | z] where samples are means."""
        given = self.given_of(condition) if "decoder" in self.conditional else None
        plain = all(option is None for option in options.values())
        if plain and self.samples == "means" and self.decoder.has_mean:
            return self._mean(z, given)
        return self.decoder.sample(condition=self.beside(z, given), generator=generator, **options)

    @torch.no_grad()
    def _mean(self, z: Tensor, given: Tensor | None) -> Tensor:
        return self.decoder.restored(self.decoder.mean(self.beside(z, given)))

    def reconstruct(
        self,
        x: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """E[x | z] at the most probable latent; a draw where the decoder has no closed mean."""
        z = self.encode(x, condition)
        if options or not self.decoder.has_mean:
            return self.decode(z, condition, generator=generator, **options)
        given = self.given_of(condition) if "decoder" in self.conditional else None
        return self._mean(z, given)

    def interpolate(
        self,
        x: Tensor,
        y: Tensor,
        steps: int,
        condition: Condition | None = None,
        *,
        along: Along = "latent",
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """Data between x and y, from latents on a line of some kind (`latents_between`).

        Shape: x, y ``(B, *event_shape)``; ``(B, steps, *event_shape)``, from x to y.
        """
        start, end = self.encode(x, condition), self.encode(y, condition)
        given = self.for_prior(self.given_of(condition)) if along != "latent" else None
        z = latents_between(start, end, steps, along, self.prior, given)
        condition = None if condition is None else condition.repeated(steps)
        made = self.decode(z.flatten(0, 1), condition, generator=generator, **options)
        return made.reshape(x.shape[0], steps, *made.shape[1:])

    def told(
        self, condition: Condition | None, draws: Draws
    ) -> tuple[Condition | None, Tensor | None]:
        """What the encoder is told in training, and e(c): both without it in the same rows."""
        if self.given is None or condition is None:
            return condition, self.given_of(condition)
        lost = self.given.lost(condition, draws)
        kept = condition if lost is None else condition.drop(lost)
        return kept, self.given(condition, lost=lost)

    def given_of(self, condition: Condition | None, draws: Draws | None = None) -> Tensor | None:
        """e(c), ``(B, E)``, with draws as in training; None where nothing is conditional."""
        return None if self.given is None else self.given(condition, draws)

    def for_prior(self, given: Tensor | None) -> Condition | None:
        """What the prior is told."""
        return Condition(vector=given) if "prior" in self.conditional else None

    def beside(self, z: Tensor, given: Tensor | None) -> Condition:
        """What the decoder is told: z, and e behind it where it is conditional."""
        if given is None or "decoder" not in self.conditional:
            return Condition(vector=z)
        return Condition(vector=torch.cat([z, given.to(z.dtype)], dim=1))

    def why(self) -> str:
        """Why there is no likelihood, for an error."""
        if self.prior is None:
            return "It is an auto-encoder: it has no prior."
        if self.encoder.kind is Likelihood.NONE:
            return "The posterior is a point: it has no density."
        weak = self.decoder if self.decoder.kind is Likelihood.NONE else self.prior
        return f"{type(weak).__name__} has none: its training loss is not a log-likelihood."
