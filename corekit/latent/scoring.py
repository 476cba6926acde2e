"""What every objective of a latent model is made of: one pass through its three parts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from corekit.errors import NoDensity
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.precision import full_precision
from corekit.interfaces.records import Batch, LossTerms
from corekit.latent.kl import kl_terms, kl_unit
from corekit.latent.posteriors import drawn_by_draw

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


class Scored(NamedTuple):
    """One pass: what the encoder, the prior and the decoder say of a batch.

    Shape: z ``(B, *latent_shape)``; kl ``(B,)``, None without a prior.
        - decoded: the loss of the decoder, -log p(x | z) in nats or an error
        - parts: what the kl is made of, where it has no closed form
        - seen: what parts of prior and decoder learn from
        - given: the vector of conditions of each row (`LatentModel.given_of`)
    """

    posterior: Posterior
    z: Tensor
    log_q: LogProb
    decoded: LossTerms
    kl: Tensor | None = None
    kl_unit: str = "nats"
    parts: Mapping[str, Tensor] = {}
    seen: Mapping[str, tuple[Tensor, Tensor]] = {}
    given: Tensor | None = None

    def reported(
        self,
        total: Tensor,
        terms: Mapping[str, Tensor] | None = None,
        units: Mapping[str, str] | None = None,
        batch_terms: Mapping[str, Tensor] | None = None,
    ) -> LossTerms:
        """The terms of a loss with this total: its own beside those of the parts."""
        told = {f"reconstruction_{name}": value for name, value in self.decoded.terms.items()}
        named = {f"reconstruction_{name}": unit for name, unit in self.decoded.units.items()}
        if self.kl is not None:
            told |= {"kl": self.kl, **self.parts}
            named |= dict.fromkeys(("kl", *self.parts), self.kl_unit)
        statistics = {**self.posterior.statistics(), **(batch_terms or {})}
        return LossTerms(
            total, {**told, **(terms or {})}, statistics, self.seen, {**named, **(units or {})}
        )


def score(
    model: "LatentModel",
    batch: Batch,
    draws: Draws,
    *,
    closed_form: bool = True,
    entropy: bool = True,
) -> Scored:
    """One draw of the latent of each row, with the loss of the decoder and KL(q || p) there.

    Args:
        model: Encoder, prior and decoder.
        batch: Data and their conditions.
        draws: Noise.
        closed_form: Whether to take a closed form of the KL where there is one.
        entropy: Whether to take the entropy of q where it is known; else log q(z) at the draw.
    """
    condition, given = model.told(batch.condition, draws)
    posterior = model.encoder(batch.x, condition)
    z, log_q = posterior.rsample_and_log_prob(draws)
    z = z.to(batch.x.dtype)  # a posterior is kept in float32, its neighbours need not be
    decoded = model.decoder.loss(batch.x, model.beside(z, given), draws)
    seen = {f"decoder.{path}": value for path, value in decoded.seen.items()}
    if model.prior is None:
        return Scored(posterior, z, log_q, decoded, seen=seen, given=given)
    # A KL is a small difference of large numbers: it and the prior stay in full precision.
    with full_precision(z):
        kl, parts, of_prior = kl_terms(
            model.prior,
            posterior,
            z,
            log_q,
            draws,
            condition=model.for_prior(given),
            closed_form=closed_form,
            entropy=entropy,
        )
    seen |= {f"prior.{path}": value for path, value in of_prior.items()}
    return Scored(posterior, z, log_q, decoded, kl, kl_unit(model.prior), parts, seen, given)


def log_joint(
    model: "LatentModel", x: Tensor, z: Tensor, k: int, given: Tensor | None, draws: Draws
) -> tuple[LogProb, LogProb]:
    """log p(x | z) and log p(z) of k latents per row, nats.

    Shape: x ``(B, *event_shape)``, given ``(B, E)`` or None; z ``(k * B, *latent_shape)``, draw by
        draw; both ``(k * B,)``.

    Raises:
        NoDensity: If the prior or the decoder has no likelihood.
    """
    if model.prior is None or model.kind is Likelihood.NONE:
        raise NoDensity(f"LatentModel: no likelihood in nats. {model.why()}")
    told = None if given is None else drawn_by_draw(given, k)
    rows, beside = drawn_by_draw(x, k), model.beside(z, told)
    log_px = model.decoder.log_prob(rows, beside, generator=draws)
    with full_precision(z):
        log_pz = model.prior.log_prob(z, model.for_prior(told), generator=draws)
    return log_px, log_pz
