"""What all objectives share: one pass through the model, then named terms with weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.loss import Loss
from corekit.interfaces.records import Batch, LossTerms
from corekit.latent.scoring import Scored, score
from corekit_vae.scheduled import Given, Scheduled

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel

Kl = Literal["auto", "monte_carlo", "draw"]


class Term(NamedTuple):
    """What an objective adds to reconstruction and KL.

    Shape: value ``(B,)``, or ``()`` of what only a batch has.
    """

    weight: Scheduled
    value: Tensor
    unit: str


class Objective(Loss):
    r"""Reconstruction, a weighted KL, and whatever ``terms`` adds.

    .. math::
        L = D(x \mid z) + \beta\, \mathrm{KL}(q(z \mid x) \,\|\, p(z)) + \sum_i w_i T_i, \qquad
        z \sim q(z \mid x)

    **Write one**: ``terms``, and ``divergence`` where the KL costs something else. D is the loss of
    the decoder. Weights are never negative, and the KL is never reported with another sign.

    Args:
        kl_weight: beta, a number or a schedule.
        kl: "auto": in closed form where there is one; "monte_carlo": with the entropy of q where it
            is known, and one draw for the rest; "draw": log q(z) - log p(z) of that draw.

    Shape: total ``(B,)``; nats, where the decoder has them.

    Raises:
        UsageError: If an option is not one of these.
    """

    needs_prior: bool = False

    def __init__(self, *, kl_weight: Given = 1.0, kl: Kl = "auto") -> None:
        super().__init__()
        if kl not in ("auto", "monte_carlo", "draw"):
            raise UsageError(f"{self.who}: kl must be auto, monte_carlo or draw, got {kl!r}.")
        self.kl, self.kl_weight = kl, self.scheduled("kl_weight", kl_weight)

    @property
    def who(self) -> str:
        """Its name, for errors."""
        return type(self).__name__

    def scheduled(self, name: str, given: Given) -> Scheduled:
        """A weight of its own."""
        return Scheduled(self.who, name, given)

    def at_step(self, step: int) -> None:
        """Move every weight that has a schedule; no host sync."""
        for part in self.modules():
            if isinstance(part, Scheduled):
                part.move(step)

    def prepare(self, model: "LatentModel") -> None:  # type: ignore[override]
        """Refuse a model without what it needs."""
        if self.needs_prior and model.prior is None:
            raise UsageError(
                f"{self.who}: the model must have a prior, got an auto-encoder. Give it one: "
                "prior: normal."
            )

    def forward(self, model: "LatentModel", batch: Batch, draws: Draws) -> LossTerms:  # type: ignore[override]
        """The loss terms of one batch."""
        scored = self.scored(model, batch, draws)
        total, cost = scored.decoded.total, self.divergence(scored, model)
        total = total if cost is None else total + cost
        rows: dict[str, Tensor] = {}
        of_batch: dict[str, Tensor] = {}
        units: dict[str, str] = {}
        for name, term in self.terms(scored, model, batch, draws).items():
            total = total + term.weight(term.value) * term.value
            (rows if term.value.ndim else of_batch)[name] = term.value
            units[name] = term.unit
        return scored.reported(total, rows, units, of_batch)

    def scored(self, model: "LatentModel", batch: Batch, draws: Draws) -> Scored:
        """The one pass through encoder, decoder and prior."""
        exact, entropy = self.kl == "auto", self.kl != "draw"
        return score(model, batch, draws, closed_form=exact, entropy=entropy)

    def divergence(self, scored: Scored, model: "LatentModel") -> Tensor | None:
        """What the KL costs, ``(B,)``; None if nothing."""
        if scored.kl is None or self.kl_weight.constant == 0:
            return None
        return self.kl_weight(scored.kl) * scored.kl

    def terms(
        self, scored: Scored, model: "LatentModel", batch: Batch, draws: Draws
    ) -> Mapping[str, Term]:
        """What it adds, by name."""
        return {}


@torch.no_grad()
def drawn_from_prior(model: "LatentModel", scored: Scored, draws: Draws) -> Tensor:
    """As many latents of the prior as there are rows, under their conditions."""
    prior: Any = model.prior
    given = model.for_prior(scored.given)
    drawn: Tensor = prior.sample(len(scored.z), given, generator=draws)
    return drawn
