"""Everything that is measured of a trained model, with what is needed to read it."""

import math
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from corekit.build import build_dataset, component
from corekit.data.loading import fixed_batches
from corekit.errors import DataError, NoDensity
from corekit.interfaces.dataset import Dataset, Figure, Metric
from corekit.interfaces.draws import RowDraws, seed_of
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.model import GenerativeModel
from corekit.spec import RunSpec, spec_class
from corekit.train.conditions import of_examples
from corekit.train.heldout import heldout_loss, nonempty
from corekit.train.invertibility import invertibility_of
from corekit.train.processes import ALONE, Share
from corekit.train.reconstruction import reconstruct
from corekit.train.sampling import ROWS, generate

_LESS = {Likelihood.WEIGHT: "bound", Likelihood.UNBIASED: "unbiased", Likelihood.BOUND: "bound"}


@torch.no_grad()
def evaluate(
    model: GenerativeModel,
    spec: RunSpec,
    *,
    split: str = "test",
    metrics: list[str] | None = None,
    num: int | None = None,
    seed: int = 0,
    share: Share = ALONE,
    **options: Any,
) -> dict[str, Any]:
    """Held-out loss terms, log-likelihood where there is one, and the metrics of the spec.

    Of a flow also whether it can be inverted (`invertibility_of`).

    Args:
        model: In eval mode.
        spec: Its spec.
        split: Held-out data, several splits joined by "+".
        metrics: Names of metrics, instead of those of the spec.
        num: Samples for metrics of samples; as many as held-out examples unless given.
        seed: Of all noise.
        share: Of several processes, each takes some of the batches; all get the figures.
        options: How samples are made (``sampler``, ``shape``).

    Raises:
        Stopped: If someone asks to stop before the end.
    """
    dataset = build_dataset(spec)
    splits = split.split("+")
    figures: list[dict[str, Any]] = []
    notes: list[str] = []
    for name in splits:
        figures += _losses(model, dataset, spec, name, share)
    if model.kind is Likelihood.NONE:
        notes.append(f"No log-likelihood: {type(model).__name__} has none in nats.")
    else:
        figures += [_likelihood(model, dataset, name, seed, share) for name in splits]
    held_out = torch.cat([_all(dataset, name, seed) for name in splits])
    for part in _chosen(spec, metrics):
        metric: Metric = component("metric", part)
        made, reference = _measured(
            metric, model, dataset, splits, held_out, num, seed, share, options
        )
        measured = metric(made, reference, _all(dataset, "train", seed))
        unit = "bits per dimension" if metric.needs == "bits_per_dim" else ""
        figures += [_row(f"{part.type}/{k}", figure, unit) for k, figure in measured.items()]
    return {
        "rows": len(held_out),
        "seed": seed,
        "split": split,
        "figures": figures,
        "notes": notes,
        "invertibility": invertibility_of(model, dataset, splits[0], seed),
    }


def _losses(
    model: GenerativeModel, dataset: Dataset, spec: RunSpec, split: str, share: Share
) -> list[dict[str, Any]]:
    """Means of the loss terms."""
    device = next(model.parameters()).device
    with model.frozen():
        found = heldout_loss(model, dataset, spec.train, device, split, share)
    return [
        _row(f"{split}/{k}", Figure(v), found.units.get(k, "")) for k, v in found.values.items()
    ]


def _measured(
    metric: Metric,
    model: GenerativeModel,
    dataset: Dataset,
    splits: list[str],
    held_out: Tensor,
    num: int | None,
    seed: int,
    share: Share,
    options: dict[str, Any],
) -> tuple[Tensor, Tensor]:
    """What a metric looks at, and what it compares that with."""
    if metric.needs == "reconstructions":
        pairs = [reconstruct(model, dataset, name, seed, share=share, **options) for name in splits]
        return torch.cat([copy for _, copy in pairs]), torch.cat(
            [original for original, _ in pairs]
        )
    if metric.needs == "bits_per_dim":
        found = [_bits(model, dataset, name, seed, share) for name in splits]
        return torch.cat(found), held_out
    given = of_examples(model, dataset, seed, splits[0])
    n = num or len(held_out)
    return generate(model, n, seed, conditions=given, share=share, **options), held_out


def _chosen(spec: RunSpec, metrics: list[str] | None) -> list[Any]:
    """The metrics of the spec, or those of these names with their defaults."""
    if metrics is None:
        return list(spec.metrics)
    return [spec_class("metric", name).model_validate({}) for name in metrics]


def _all(dataset: Dataset, split: str, seed: int) -> Tensor:
    return torch.cat(
        [b.x for b in fixed_batches(nonempty(dataset, split), seed_of(seed, "heldout"), 256)]
    )


def _likelihood(
    model: GenerativeModel, dataset: Dataset, split: str, seed: int, share: Share
) -> dict[str, Any]:
    """Mean log p(x) in nats, with a 95 % interval over the examples.

    Where the data know their own density, its mean is the reference: no model's is higher.
    """
    device = next(model.parameters()).device
    examples = nonempty(dataset, split)

    def log_prob(start: int) -> tuple[Tensor, Tensor | None]:
        rows = range(start, min(start + ROWS, len(examples)))
        batch = next(fixed_batches(examples, seed_of(seed, "heldout"), ROWS, rows))
        moved = batch.to(device)
        draws = RowDraws(seed, batch.rows)
        known = None
        with suppress(NoDensity):
            known = _log_density(dataset, batch.x)
        found = model.log_prob(moved.x, moved.condition, generator=draws)
        return found.value.double().cpu(), known

    with model.frozen():
        pairs = share.map(log_prob, range(0, len(examples), ROWS))
    values = [value for value, _ in pairs]
    truth = [known for _, known in pairs if known is not None]
    nats = torch.cat(values)
    if not bool(nats.isfinite().all()):
        raise DataError(
            f"evaluate: log p(x) must be finite on '{split}', got {nats.min()} "
            "for the worst example."
        )
    half = 1.96 * nats.std().item() / math.sqrt(len(nats)) if len(nats) > 1 else math.inf
    # The mean of one-draw weights is an ELBO: a bound.
    kind = _LESS.get(model.kind, model.kind.value)
    protocol = {"kind": kind, "interval95": round(half, 4), "examples": len(nats)}
    references = {"data": torch.cat(truth).mean().item()} if truth else {}
    figure = Figure(nats.mean().item(), None, references, protocol, better="higher")
    return _row(f"{split}/log_prob", figure, "nats")


def _bits(model: GenerativeModel, dataset: Dataset, split: str, seed: int, share: Share) -> Tensor:
    """Bits per dimension of each example, with noise that belongs to it: float64 ``(R,)``."""
    device = next(model.parameters()).device
    examples = nonempty(dataset, split)

    def bits(start: int) -> Tensor:
        rows = range(start, min(start + ROWS, len(examples)))
        batch = next(fixed_batches(examples, seed_of(seed, "heldout"), ROWS, rows))
        moved, draws = batch.to(device), RowDraws(seed, batch.rows)
        return model.bits_per_dim(moved.x, moved.condition, generator=draws).double().cpu()

    with model.frozen():
        return torch.cat(share.map(bits, range(0, len(examples), ROWS)))


def _log_density(dataset: Dataset, x: Tensor) -> Tensor:
    """The log-density of the data themselves, which only data drawn by a formula know."""
    log_prob = getattr(dataset, "log_prob", None)
    if log_prob is None:
        raise NoDensity(f"{type(dataset).__name__}: its density is not known.")
    value: Tensor = log_prob(x).value
    return value


def _row(name: str, figure: Figure, unit: str) -> dict[str, Any]:
    return {"name": name, "unit": unit, **figure._asdict()}
