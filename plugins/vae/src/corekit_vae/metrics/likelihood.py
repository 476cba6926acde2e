"""-log p(x) by importance sampling."""

import math
from collections.abc import Mapping

import torch

from corekit.errors import UsageError
from corekit.interfaces.dataset import Figure, Look, ModelMetric
from corekit.interfaces.draws import Draws
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import Batch
from corekit.latent.importance import Importance, importance_log_prob
from corekit.latent.model import LatentModel


class Nll(ModelMetric):
    """-log p(x) of held-out data by importance sampling, and how far to trust it.

    Figures: ``nats``, the mean over the examples with half a 95 % interval, and on average an upper
    bound; ``bits_per_dim`` where the data have bins; ``ess``, the effective share of the draws,
    mean over the examples, whose least value is in the protocol.

    Args:
        samples: Importance samples per example.
        at_once: Of them at a time: what memory goes with.
    """

    def __init__(self, *, samples: int = 1000, at_once: int = 100) -> None:
        if samples < 1 or at_once < 1:
            raise UsageError(
                f"Nll: samples and at_once must be at least 1, got {samples} and {at_once}."
            )
        self.samples, self.at_once = samples, at_once

    def __call__(self, model: GenerativeModel, look: Look) -> Mapping[str, Figure]:
        """The figures."""
        if not isinstance(model, LatentModel):
            raise UsageError(
                f"Nll: the model must be a latent one, got {type(model).__name__}. Others have "
                "their log_prob."
            )

        def work(batch: Batch, draws: Draws) -> Importance:
            how = {"samples": self.samples, "at_once": self.at_once}
            return importance_log_prob(model, batch.x, batch.condition, generator=draws, **how)

        found = look(work)
        nats = -torch.cat([part.log_p.value for part in found]).cpu()
        share = torch.cat([part.ess for part in found]).cpu() / self.samples
        half = 1.96 * nats.std().item() / math.sqrt(len(nats)) if len(nats) > 1 else None
        told = {"samples": self.samples, "examples": len(nats), "kind": "bound"}
        mean = nats.mean().item()
        figures = {
            "nats": Figure(mean, None, {}, {**told, "interval95": half}, better="lower"),
            "ess": Figure(
                share.mean().item(), None, {}, {**told, "least": share.min().item()}, "higher"
            ),
        }
        if model.data.bin_width is not None:
            elements = math.prod(model.data.event_shape)
            bits = (mean / elements - math.log(model.data.bin_width)) / math.log(2)
            figures["bits_per_dim"] = Figure(bits, None, {}, told, better="lower")
        return figures
