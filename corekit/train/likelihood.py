"""The mean log-likelihood of held-out data, and what sort of number it is."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from corekit.data.loading import fixed_batches
from corekit.errors import DataError, NoDensity
from corekit.interfaces.dataset import Dataset, Figure
from corekit.interfaces.draws import RowDraws, seed_of
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.model import GenerativeModel
from corekit.train.heldout import nonempty
from corekit.train.processes import ALONE, Share
from corekit.train.sampling import ROWS

Score = Callable[..., LogProb]
"""(x, condition, generator=...) -> `LogProb`."""


def figure_row(name: str, figure: Figure, unit: str) -> dict[str, Any]:
    """A figure as it is printed and written."""
    return {"name": name, "unit": unit, **figure._asdict()}


def likelihood_figure(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    seed: int,
    share: Share = ALONE,
    *,
    name: str = "log_prob",
    score: Score | None = None,
    protocol: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Mean log p(x) in nats, with a 95 % interval over the examples.

    Where the data know their own density, its mean is the reference: no model's is higher.

    Args:
        model: In eval mode.
        dataset: Its data.
        split: Which of them.
        seed: Of all noise; that of a row depends on (seed, row) alone.
        share: Of several processes, each takes some of the batches.
        name: Of the figure.
        score: What is averaged; the model's own ``log_prob`` unless given.
        protocol: What else there is to say of it.

    Raises:
        DataError: If it is not finite.
        Stopped: If someone asks to stop before the end.
    """
    score = model.log_prob if score is None else score
    device = next(model.parameters()).device
    examples = nonempty(dataset, split)

    def scored(start: int) -> tuple[Tensor, Likelihood, Tensor | None]:
        rows = range(start, min(start + ROWS, len(examples)))
        batch = next(fixed_batches(examples, seed_of(seed, "heldout"), ROWS, rows))
        moved = batch.to(device)
        draws = RowDraws(seed, batch.rows)
        known = None
        with suppress(NoDensity):
            known = _log_density(dataset, batch.x)
        found = score(moved.x, moved.condition, generator=draws)
        return found.value.double().cpu(), found.kind, known

    with model.frozen():
        parts = share.map(scored, range(0, len(examples), ROWS))
    nats = torch.cat([value for value, _, _ in parts])
    truth = [known for _, _, known in parts if known is not None]
    if not bool(nats.isfinite().all()):
        raise DataError(
            f"evaluate: log p(x) must be finite on '{split}', got {nats.min()} "
            "for the worst example."
        )
    half = 1.96 * nats.std().item() / math.sqrt(len(nats)) if len(nats) > 1 else math.inf
    # The mean of one-draw weights is an ELBO: a bound.
    kind = "bound" if parts[0][1] is Likelihood.WEIGHT else parts[0][1].value
    told = {"kind": kind, "interval95": round(half, 4), "examples": len(nats), **(protocol or {})}
    references = {"data": torch.cat(truth).mean().item()} if truth else {}
    figure = Figure(nats.mean().item(), None, references, told, better="higher")
    return figure_row(f"{split}/{name}", figure, "nats")


def _log_density(dataset: Dataset, x: Tensor) -> Tensor:
    """The log-density of the data themselves, which only data drawn by a formula know."""
    log_prob = getattr(dataset, "log_prob", None)
    if log_prob is None:
        raise NoDensity(f"{type(dataset).__name__}: its density is not known.")
    value: Tensor = log_prob(x).value
    return value
