"""Whether a trained flow can be inverted, on a few held-out rows."""

import math
from typing import Any

from corekit.data.loading import fixed_batches
from corekit.flows.health import LayerHealth
from corekit.flows.model import FlowModel
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import seed_of
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.model import GenerativeModel
from corekit.train.heldout import nonempty

ROWS = 8
"""Rows that are looked at."""


def invertibility_of(
    model: GenerativeModel, dataset: Dataset, split: str, seed: int
) -> dict[str, Any] | None:
    """Round-trip error and smallest singular value of a flow and of its worst layer.

    None for a model that is no flow, and for a flow whose log-determinant is estimated, which has
    no inverse, or whose rows depend on each other. Of events of more than 256 numbers the singular
    values are left out (null): they would have to be estimated, in many passes.

    Returns:
        ``rows``, ``round_trip`` (in units of what enters the bijector; null if it is not finite),
        ``smallest_singular_value`` and ``worst_layer`` with the same, its path and its name;
        ``levels``, the round-trip error of the flow from each of its levels on, if it has several;
        ``condition``, the largest condition number of a `Mixing` with its path and name, or null.
    """
    if not isinstance(model, FlowModel):
        return None
    bijector = model.density.bijector
    exact = bijector.logdet_kind is Likelihood.EXACT
    if not (exact and bijector.has_inverse) or bijector.rows_coupled:
        return None
    examples = nonempty(dataset, split)
    rows = range(min(ROWS, len(examples)))
    batch = next(fixed_batches(examples, seed_of(seed, "heldout"), ROWS, rows))
    moved = batch.to(next(model.parameters()).device)
    *layers, whole = model.invertibility(moved.x, moved.condition, estimate=False)
    worst = min(layers, key=_health) if layers else None
    errors = model.level_errors(moved.x, moved.condition)
    mixings = [layer for layer in layers or [whole] if not math.isnan(layer.condition)]
    steepest = max(mixings, key=lambda layer: layer.condition) if mixings else None
    return {
        "rows": len(rows),
        **_figures(whole),
        "worst_layer": worst and {"path": worst.path, "name": worst.name, **_figures(worst)},
        "levels": [_known(error) for error in errors] if len(errors) > 1 else [],
        "condition": steepest
        and {
            "path": steepest.path,
            "name": steepest.name,
            "value": _known(steepest.condition),
            "layers": len(mixings),
        },
    }


def invertibility_line(found: dict[str, Any]) -> str:
    """One line of what was found."""
    worst = found["worst_layer"]
    where = f"; worst layer {worst['path']} {worst['name']}, {_words(worst)}" if worst else ""
    errors = [_error(error) for error in found["levels"]]
    levels = f"; from each level on {', '.join(errors)}" if errors else ""
    steepest, condition = found["condition"], ""
    if steepest is not None:
        value = "infinite" if steepest["value"] is None else f"{steepest['value']:.3g}"
        condition = f"; condition number of {steepest['layers']} matrices at most {value}"
        condition += f" ({steepest['path']} {steepest['name']})"
    return f"invertibility on {found['rows']} examples: {_words(found)}{where}{levels}{condition}"


def _health(layer: LayerHealth) -> tuple[float, float]:
    """Smallest for the worst: by singular value, and by round trip where that is not known."""
    value = layer.smallest_singular_value
    return (0.0 if math.isnan(value) else value, -layer.round_trip)


def _figures(layer: LayerHealth) -> dict[str, float | None]:
    figures = {
        "round_trip": layer.round_trip,
        "smallest_singular_value": layer.smallest_singular_value,
    }
    return {name: _known(value) for name, value in figures.items()}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _error(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"


def _words(figures: dict[str, Any]) -> str:
    error, smallest = figures["round_trip"], figures["smallest_singular_value"]
    words = f"round trip {_error(error)}"
    return words if smallest is None else f"{words}, smallest singular value {smallest:.2g}"
