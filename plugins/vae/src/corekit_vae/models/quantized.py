"""An auto-encoder through a finite set of codes: the VQ-VAE, with any quantizer and any prior."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import NoDensity, UsageError
from corekit.interfaces.density import Decoder, Prior
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.initialization import INIT_ROWS, hands_on
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.part_loss import PartLoss
from corekit.interfaces.quantizer import Quantized, Quantizer
from corekit.interfaces.records import Batch, Condition, LossTerms
from corekit.latent.given import Given


class QuantizedModel(GenerativeModel):
    r"""Encoder, quantizer, decoder; and a prior of the codes, trained along or in a later stage.

    .. math::
        L = -\log p(x \mid q(e(x))) + \lambda L_q - \log P(k(x))

    with k the codes of x. With a prior, and a decoder that has a likelihood, the first and the last
    term are a bound on -log p(x): codes are a point of a discrete set, whose posterior has no
    entropy. The quantizer's loss L_q is no part of it.

    Args:
        data: What it is a model of.
        encoder: Factory of the encoder; the mode of its posterior is quantized.
        quantizer: Factory of the quantizer, called with latent_shape.
        decoder: Factory of p(x | z), called with event_shape and latent_shape.
        prior: Factory of P(k), called with event_shape (of the codes) and condition; None leaves an
            auto-encoder.
        quantizer_weight: lambda.
        classes: Number of classes, where the prior is told the label.

    Shape: batch.x ``(B, *data.event_shape)``; codes ``(B, *codes_shape)``, what `encode` gives.

    Raises:
        UsageError: If the prior is not one of codes.

    Source: van den Oord et al., Neural Discrete Representation Learning, NeurIPS 2017,
        https://arxiv.org/abs/1711.00937.
    """

    entry_points = (*GenerativeModel.entry_points, "codes_of")

    def __init__(
        self,
        data: DataSpec,
        *,
        encoder: Callable[..., Encoder],
        quantizer: Callable[..., Quantizer],
        decoder: Callable[..., Decoder],
        prior: Callable[..., Prior] | None = None,
        quantizer_weight: float = 1.0,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.data, self.quantizer_weight = data, quantizer_weight
        self.encoder = encoder(event_shape=data.event_shape)
        latent = self.encoder.latent_shape
        self.quantizer = quantizer(latent_shape=latent)
        self.decoder = decoder(event_shape=data.event_shape, latent_shape=latent)
        self.decoder.prepare(data)
        self.given = None if classes is None else Given(data.condition_shapes, classes=classes)
        self.prior: Prior | None = None
        if prior is not None:
            codes = self.quantizer.codes_shape
            told = None if self.given is None else {"vector": (self.given.width,)}
            self.prior = prior(event_shape=codes, condition=told)
            if self.prior.support is not Support.CODES:
                raise UsageError(
                    "QuantizedModel: the prior must be one of codes, got "
                    f"{type(self.prior).__name__} on '{self.prior.support.value}'. Use "
                    "vae.autoregressive."
                )
            levels = self.quantizer.levels
            self.prior.prepare(DataSpec(codes, "int64", Support.CODES, levels, bin_width=1.0))
            self.kind = self.decoder.kind | self.prior.kind | Likelihood.BOUND

    def codes_of(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Codes of data, ``(B, *codes_shape)``, int64."""
        with torch.no_grad():
            return self._quantized(x, condition).codes

    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """The loss, its terms and what the quantizer learns from."""
        if self.part_loss is not None:
            return self.part_loss(self, batch, as_draws(draws))
        draws = as_draws(draws)
        found = self._quantized(batch.x, batch.condition)
        decoded = self.decoder.loss(batch.x, Condition(vector=found.z), draws)
        terms = {f"reconstruction_{name}": value for name, value in decoded.terms.items()}
        units = {f"reconstruction_{name}": unit for name, unit in decoded.units.items()}
        terms |= found.terms
        units |= dict.fromkeys(found.terms, "squared error")
        total = decoded.total + self.quantizer_weight * found.loss
        seen = {f"decoder.{path}": value for path, value in decoded.seen.items()}
        if found.seen is not None:
            seen["quantizer"] = found.seen
        if self.prior is not None and not (self.training and _frozen(self.prior)):
            scored = self.prior.loss(found.codes, self._told(batch.condition, draws), draws)
            total = total + scored.total
            terms["codes_nll"], units["codes_nll"] = scored.total, "nats"
        return LossTerms(total, terms, found.statistics, seen, units)

    def narrowed(self, trained: Collection[str]) -> PartLoss | None:
        """The loss of the prior, where nothing else is trained."""
        if self.prior is None or not all(name.startswith("prior.") for name in trained):
            return None
        return CodesLoss()

    @hands_on
    @torch.no_grad()
    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Start the codes at latents of data; the encoder is left as it was."""
        kept = [buffer.clone() for buffer in self.encoder.buffers()]  # running statistics
        parts = batch.split(len(batch.x) // INIT_ROWS or 1)
        found = [self.encoder(part.x, part.condition).mode for part in parts]
        for buffer, before in zip(self.encoder.buffers(), kept, strict=True):
            buffer.copy_(before)
        self.quantizer.initialize(torch.cat(found))

    def standardize(self, mean: Any, std: Any) -> None:
        """Let encoder and decoder compute with standardised data."""
        self.encoder.standardize(mean, std)
        self.decoder.standardize(mean, std)

    def log_prob(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> LogProb:
        """log p(x | q(x)) + log P(k(x)): a bound on log p(x), nats."""
        if self.prior is None or self.kind is Likelihood.NONE:
            why = "it has no prior" if self.prior is None else "its decoder has no likelihood"
            raise NoDensity(f"QuantizedModel: no likelihood in nats: {why}.")
        draws, found = as_draws(generator), self._quantized(x, condition)
        of_x = self.decoder.log_prob(x, Condition(vector=found.z), generator=draws)
        of_codes = self.prior.log_prob(found.codes, self._told(condition), generator=draws)
        return LogProb(of_x.value + of_codes.value, self.kind)

    def sample(
        self,
        n: int,
        condition: Condition | None = None,
        *,
        shape: Shape | None = None,
        temperature: float = 1.0,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """n samples; the temperature acts on the prior of the codes."""
        if self.prior is None:
            raise UsageError(
                "QuantizedModel: sample must have a prior of the codes, got none. Train one in a "
                "second stage: prior: vae.autoregressive."
            )
        draws = as_draws(generator)
        told = self._told(condition)
        codes = self.prior.sample(n, told, temperature=temperature, generator=draws)
        return self.decode(codes, generator=draws, shape=shape, **options)

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Codes of each row."""
        return self.codes_of(x, condition)

    def decode(
        self,
        z: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """One draw from p(x | z) for each row of codes."""
        return self.decoder.sample(condition=self._beside(z), generator=generator, **options)

    def reconstruct(
        self,
        x: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """E[x | z] of the codes of each row; a draw where the decoder has no closed mean."""
        codes = self.codes_of(x, condition)
        if options or not self.decoder.has_mean:
            return self.decode(codes, generator=generator, **options)
        with torch.no_grad():
            return self.decoder.restored(self.decoder.mean(self._beside(codes)))

    def interpolate(self, x: Tensor, y: Tensor, steps: int, *args: Any, **options: Any) -> Tensor:
        """Refused: there is nothing between two codes."""
        raise UsageError("QuantizedModel: interpolate must have a continuous latent, got codes.")

    def _quantized(self, x: Tensor, condition: Condition | None) -> Quantized:
        z = self.encoder(x, condition).mode
        found: Quantized = self.quantizer(z)
        return found._replace(z=found.z.to(x.dtype))

    def _beside(self, codes: Tensor) -> Condition:
        """What the decoder is told of codes."""
        dtype = next(self.decoder.parameters()).dtype
        return Condition(vector=self.quantizer.vectors(codes).to(dtype))

    def _told(self, condition: Condition | None, draws: Draws | None = None) -> Condition | None:
        return None if self.given is None else Condition(vector=self.given(condition, draws))


def _frozen(part: torch.nn.Module) -> bool:
    """Whether nothing of it is trained: a first stage need not compute what has no gradient."""
    return not any(parameter.requires_grad for parameter in part.parameters())


class CodesLoss(PartLoss):
    """-log P of the codes alone, where encoder, quantizer and decoder stay as they are."""

    def coder(self, model: QuantizedModel) -> Any:
        """What makes the codes."""
        return torch.nn.ModuleList([model.encoder, model.quantizer])

    def code(self, model: QuantizedModel, batch: Batch) -> Tensor:
        """The codes of each row."""
        if model.given is not None:
            raise UsageError(
                "CodesLoss: codes that are kept must have no conditions beside them, got a prior "
                "that is told classes. Set cache to false."
            )
        return model.codes_of(batch.x, batch.condition)

    def __call__(self, model: QuantizedModel, batch: Batch, draws: Draws) -> LossTerms:
        """The nats of the codes."""
        if model.prior is None:
            raise UsageError("CodesLoss: the model must have a prior, got an auto-encoder.")
        codes = batch.x if self.cached else model.codes_of(batch.x, batch.condition)
        told = model._told(batch.condition, draws)
        total = model.prior.loss(codes, told, draws).total
        return LossTerms(total, {"codes_nll": total}, units={"codes_nll": "nats"})
