"""How well a model tells other data from those it was trained on."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from corekit.checkpoint.folder import find
from corekit.data.loading import fixed_batches
from corekit.data_spec import DataSpec
from corekit.errors import DataError, NoDensity, UsageError
from corekit.interfaces.dataset import Dataset, Figure
from corekit.interfaces.draws import RowDraws, seed_of
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.model import GenerativeModel
from corekit.metrics.ood import likelihood_ratio, png_nats, typicality
from corekit.metrics.ranking import auc
from corekit.report.images import is_image
from corekit.spec import RunSpec, load_spec
from corekit.train.heldout import nonempty
from corekit.train.processes import ALONE, Share
from corekit.train.sampling import ROWS

ENTROPY_ROWS = 1000
"""Training examples that the entropy is estimated from, at most, spread over all."""

_OF_A_FILE = ("array", "labels", "vector", "split", "groups")
"""Options of a data set that say what is in one file and need not be in another."""


class CodeLengths(NamedTuple):
    """Of each example, in nats, ``(N,)``.

    Attributes:
        model: -log P of data that are quantised, and of others -log p.
        background: The same of another model, or None.
        png: Length as a PNG, or None where the examples are no images of up to 256 levels.
    """

    model: np.ndarray
    background: np.ndarray | None
    png: np.ndarray | None


def tell_apart(
    model: GenerativeModel,
    dataset: Dataset,
    other: Dataset,
    split: str = "test",
    seed: int = 0,
    *,
    batch: int = 1,
    background: GenerativeModel | None = None,
    share: Share = ALONE,
) -> list[dict[str, Any]]:
    """How well each score tells the examples of other data from held-out ones, as AUC.

    ``likelihood`` is -log p(x) itself, ``typicality`` its distance to the entropy, ``complexity``
    the ratio to the length of a PNG, ``likelihood_ratio`` that to a background model.

    Args:
        model: In eval mode, with a likelihood.
        dataset: What it was trained on.
        other: Other data, of examples of the same shape and levels.
        split: Which examples of both, several splits joined by "+".
        seed: Of all noise, and of which examples form a batch.
        batch: Examples that typicality judges together.
        background: A model of noisy or of more general data.
        share: Of several processes, each takes some of the examples.

    Returns:
        Figures as `corekit.train.evaluation.evaluate` has them; chance is 0.5.

    Raises:
        NoDensity: If a model has no likelihood.
        DataError: If the examples are not of the same kind.
    """
    _check(model, background, dataset.data_spec, other.data_spec)
    train = nonempty(dataset, "train")
    few = np.linspace(0, len(train) - 1, min(ENTROPY_ROWS, len(train))).round().astype(int).tolist()
    lengths = code_lengths(model, dataset, "train", seed, few, share=share)
    entropy = float(lengths.model.mean())
    order = np.random.default_rng(seed_of(seed, "ood"))
    own, far = (
        _mixed(_of_splits(model, data, split, seed, background, share), order)
        for data in (dataset, other)
    )
    sizes = {"held_out": len(own.model), "other": len(far.model)}
    found = []
    for name, (low, high) in _judged(own, far, entropy, batch).items():
        more = {"entropy": round(entropy, 4), "batch": batch} if name == "typicality" else {}
        figure = Figure(auc(high, low), None, {"chance": 0.5}, {**sizes, **more}, better="higher")
        found.append({"name": f"ood/{name}", "unit": "AUC", **figure._asdict()})
    return found


def _judged(
    own: CodeLengths, far: CodeLengths, entropy: float, batch: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The scores of both, by name: the higher, the stranger."""
    judged = {
        "likelihood": (own.model, far.model),
        "typicality": (
            typicality(own.model, entropy, batch),
            typicality(far.model, entropy, batch),
        ),
    }
    for name, a, b in (
        ("complexity", own.png, far.png),
        ("likelihood_ratio", own.background, far.background),
    ):
        if a is not None and b is not None:
            judged[name] = likelihood_ratio(own.model, a), likelihood_ratio(far.model, b)
    return judged


@torch.no_grad()
def code_lengths(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    seed: int = 0,
    rows: list[int] | None = None,
    *,
    background: GenerativeModel | None = None,
    share: Share = ALONE,
) -> CodeLengths:
    """How long the code of each example is under a model, and under others; see `CodeLengths`."""
    examples = nonempty(dataset, split)
    chosen = list(range(len(examples))) if rows is None else rows
    models = [model] if background is None else [model, background]
    data = dataset.data_spec
    levels = data.levels or 0
    drawn = is_image(data.event_shape) and 2 <= levels <= 256 and data.bin_width is not None

    def piece(start: int) -> tuple[list[np.ndarray], np.ndarray | None]:
        part = chosen[start : start + ROWS]
        batch = next(fixed_batches(examples, seed_of(seed, "heldout"), ROWS, part))
        nats = []
        for one in models:
            moved, draws = batch.to(next(one.parameters()).device), RowDraws(seed, batch.rows)
            if data.bin_width is None:
                found = -one.log_prob(moved.x, moved.condition, generator=draws).value
            else:
                bits = one.bits_per_dim(moved.x, moved.condition, generator=draws)
                found = bits.double() * math.prod(data.event_shape) * math.log(2)
            nats.append(found.double().cpu().numpy())
        if not drawn:
            return nats, None
        low, width = data.lowest or 0.0, data.bin_width or 1.0
        level = ((batch.x.double() - low) / width).round().clamp(0, levels - 1)
        return nats, png_nats(level.to(torch.uint8).numpy())

    with model.frozen():
        pieces = share.map(piece, range(0, len(chosen), ROWS))
    nats = [np.concatenate([p[0][i] for p in pieces]) for i in range(len(models))]
    if not all(np.isfinite(of).all() for of in nats):
        raise DataError(f"code_lengths: log p(x) must be finite on '{split}', got others.")
    png = np.concatenate([p[1] for p in pieces if p[1] is not None]) if drawn else None
    return CodeLengths(nats[0], nats[1] if background is not None else None, png)


def other_data(spec: RunSpec, path: str) -> RunSpec:
    """The spec of a run with other data in it.

    Args:
        spec: Of the run.
        path: A spec (YAML) or a run, whose data are taken; or a file or folder, which is read as
            the data of the run are.

    Raises:
        UsageError: If the run's data are no file, and the path is no spec.
    """
    where = Path(path)
    if where.suffix in (".yaml", ".yml"):
        data = load_spec(where).spec.data
    elif (where / "checkpoints").is_dir() or (where / "spec.yaml").is_file():
        data = load_spec(find(where) / "spec.yaml").spec.data
    elif "path" in type(spec.data).model_fields:
        there = [name for name in _OF_A_FILE if name in type(spec.data).model_fields]
        fields = type(spec.data).model_fields
        plain = {name: fields[name].default for name in there}
        data = spec.data.model_copy(update={**plain, "path": path})
    else:
        raise UsageError(
            f"--ood: must be a spec or a run, whose data are taken, where the data of the run "
            f"({spec.data.type}) are no file, got '{path}'."
        )
    return spec.model_copy(update={"data": data})


def _of_splits(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    seed: int,
    background: GenerativeModel | None,
    share: Share,
) -> CodeLengths:
    """Of all examples of splits that are joined by "+"."""
    parts = [
        code_lengths(model, dataset, name, seed, background=background, share=share)
        for name in split.split("+")
    ]
    fields = (None if f[0] is None else np.concatenate(f) for f in zip(*parts, strict=True))
    return CodeLengths(*fields)  # type: ignore[arg-type]


def _mixed(lengths: CodeLengths, order: np.random.Generator) -> CodeLengths:
    """In another order: examples of one class may stand together."""
    places = order.permutation(len(lengths.model))
    return CodeLengths(*(None if f is None else f[places] for f in lengths))  # type: ignore[arg-type]


def _check(
    model: GenerativeModel, background: GenerativeModel | None, own: DataSpec, other: DataSpec
) -> None:
    for one in (model, background):
        if one is not None and one.kind is Likelihood.NONE:
            raise NoDensity(f"{type(one).__name__}: it must have a likelihood to judge data by it.")
    kinds = [("other data", other)]
    kinds += [] if background is None else [("background", background.data)]
    for who, seen in kinds:
        for name in ("event_shape", "levels", "bin_width", "lowest"):
            if getattr(own, name) != getattr(seen, name):
                raise DataError(
                    f"{who}: {name} must be that of the data of the model, {getattr(own, name)}, "
                    f"got {getattr(seen, name)}."
                )
