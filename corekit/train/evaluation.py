"""Everything that is measured of a trained model, with what is needed to read it."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from corekit.build import build_dataset, component
from corekit.data.loading import fixed_batches
from corekit.errors import SpecError
from corekit.interfaces.dataset import Dataset, Figure, Look, Metric, ModelMetric, Split
from corekit.interfaces.draws import Draws, RowDraws, seed_of
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import Batch
from corekit.spec import RunSpec, run_spec, spec_class
from corekit.spec.yaml12 import parse
from corekit.train.conditions import of_examples
from corekit.train.heldout import heldout_loss, nonempty
from corekit.train.invertibility import invertibility_of
from corekit.train.likelihood import figure_row, likelihood_figure
from corekit.train.processes import ALONE, Share
from corekit.train.reconstruction import reconstruct
from corekit.train.sampling import ROWS, generate

R = TypeVar("R")


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
        metrics: Metrics instead of those of the spec: names, or YAML with a type and options.
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
        figures += [likelihood_figure(model, dataset, name, seed, share) for name in splits]
    held_out = torch.cat([_all(dataset, name, seed) for name in splits])
    seen: dict[str, tuple[Tensor, Tensor]] = {}  # samples are made once for all metrics
    for part in _chosen(spec, metrics):
        metric: Metric | ModelMetric = component("metric", part)
        if isinstance(metric, ModelMetric):
            look = _look(model, dataset, splits, seed, share)
            with model.frozen():
                measured = metric(model, look)
            figures += [figure_row(f"{part.type}/{k}", f, "") for k, f in measured.items()]
            continue
        if metric.needs not in seen:
            seen[metric.needs] = _measured(
                metric, model, dataset, splits, held_out, num, seed, share, options
            )
        made, reference = seen[metric.needs]
        measured = metric(made, reference, _all(dataset, "train", seed))
        unit = "bits per dimension" if metric.needs == "bits_per_dim" else ""
        figures += [figure_row(f"{part.type}/{k}", figure, unit) for k, figure in measured.items()]
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
        figure_row(f"{split}/{k}", Figure(v), found.units.get(k, ""))
        for k, v in found.values.items()
    ]


def _look(
    model: GenerativeModel, dataset: Dataset, splits: list[str], seed: int, share: Share
) -> Look:
    """What a metric of the model sees of the data."""
    device = next(model.parameters()).device

    def look(work: Callable[[Batch, Draws], R]) -> list[R]:
        found: list[R] = []
        for name in splits:
            examples = nonempty(dataset, name)

            def done(start: int, examples: Split = examples) -> R:
                rows = range(start, min(start + ROWS, len(examples)))
                batch = next(fixed_batches(examples, seed_of(seed, "heldout"), ROWS, rows))
                return work(batch.to(device), RowDraws(seed, batch.rows))

            found += share.map(done, range(0, len(examples), ROWS))
        return found

    return look


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
    """The metrics of the spec, or these: names, or what a spec may say, ``{type: ..., ...}``."""
    if metrics is None:
        return list(spec.metrics)
    return [
        _written(spec, text)
        if text.lstrip().startswith("{")
        # a name alone is no spec: what is wrong with it is told without a place
        else spec_class("metric", text).model_validate({})
        for text in metrics
    ]


def _written(spec: RunSpec, text: str) -> Any:
    """A metric with its options, checked as in a spec file."""
    tree, problems = parse(text, "--metric")
    if tree is None or problems:
        raise SpecError(*problems)
    given = {"version": 1, "model": spec.model, "data": spec.data, "metrics": [tree.plain()]}
    return run_spec(given).metrics[0]


def _all(dataset: Dataset, split: str, seed: int) -> Tensor:
    return torch.cat(
        [b.x for b in fixed_batches(nonempty(dataset, split), seed_of(seed, "heldout"), 256)]
    )


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
