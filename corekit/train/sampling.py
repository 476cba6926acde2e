"""Sets of samples: the same sample i for the same (seed, i), in any batch."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corekit.interfaces.draws import RowDraws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.model import GenerativeModel
from corekit.report.save import (
    save_completions,
    save_npz,
    save_picture,
    save_rows,
    with_ending,
)
from corekit.train.conditions import Conditions
from corekit.train.processes import ALONE, Share

ROWS = 64
"""Samples that are drawn together."""

_CHUNK = 4096
"""Points whose density is computed together."""


def made_by_steps(model: GenerativeModel) -> Any:
    """The part that makes data with a sampler, not the one that makes latents; None without one."""
    parts = (part for part in model.modules() if hasattr(part, "sampler"))
    return next((p for p in parts if p.event_shape == model.data.event_shape), None)


@torch.no_grad()
def generate(
    model: GenerativeModel,
    n: int,
    seed: int,
    *,
    conditions: Conditions | None = None,
    share: Share = ALONE,
    **options: Any,
) -> Tensor:
    """n samples on the CPU; sample i depends on (seed, i), its condition and the options alone.

    Raises:
        Stopped: If someone asks to stop before the end.
    """

    def draw(rows: range) -> Tensor:
        given: dict[str, Any] = {} if conditions is None else {"condition": conditions(rows)}
        draws = RowDraws(seed, rows)
        return model.sample(len(rows), generator=draws, **given, **options).cpu()

    chunks = [range(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]
    with model.frozen():
        return torch.cat(share.map(draw, chunks))


def sample_and_save(
    model: GenerativeModel,
    path: Path,
    n: int,
    seed: int,
    *,
    captions: Sequence[str] | None = None,
    conditions: Conditions | None = None,
    npz: bool = False,
    share: Share = ALONE,
    **options: Any,
) -> Path:
    """Draw samples and write ``path.png``, ``path.npy`` and ``path.json`` (seed, options).

    With ``npz`` also ``path.npz`` as evaluation suites for images read it.

    Of several processes, each draws some and the main one writes. Below completed clouds stand the
    points that were given; beside points in the plane the density of a model that has one, exactly.

    Returns:
        The picture, or the array if there is no picture of such data.
    """
    samples = generate(model, n, seed, conditions=conditions, share=share, **options)
    if not share.main:
        return with_ending(path, ".npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(with_ending(path, ".npy"), samples.numpy())
    if npz:
        labels = None if conditions is None else getattr(conditions(range(n)), "labels", None)
        save_npz(samples, labels, with_ending(path, ".npz"), model.data)
    facts = {"seed": seed, "num": n, **{k: repr(v) for k, v in options.items()}}
    with_ending(path, ".json").write_text(json.dumps(facts, indent=1) + "\n")
    given = conditions(range(n)) if conditions is not None else None
    if given is not None and given.points is not None and given.mask is not None:
        picture = save_completions(samples, given.points, given.mask, with_ending(path, ".png"))
    else:
        density = _log_density(model, options)
        picture = save_picture(samples, with_ending(path, ".png"), captions, model.data, density)
    return picture or with_ending(path, ".npy")


def temperature_grid(
    model: GenerativeModel,
    path: Path,
    n: int,
    seed: int,
    temperatures: Sequence[float],
    *,
    conditions: Conditions | None = None,
    share: Share = ALONE,
    **options: Any,
) -> Path:
    """Draw n samples at each temperature, of the same noise; write ``path.png`` and the others.

    The array is ``(temperatures, n, *event_shape)``.

    Returns:
        The picture, a row for each temperature, or the array if there is no picture of such data.
    """
    rows = [
        generate(
            model, n, seed, conditions=conditions, share=share, temperature=temperature, **options
        )
        for temperature in temperatures
    ]
    if not share.main:
        return with_ending(path, ".npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(with_ending(path, ".npy"), torch.stack(rows).numpy())
    facts = {"seed": seed, "num": n, "temperatures": list(temperatures)}
    facts |= {name: repr(value) for name, value in options.items()}
    with_ending(path, ".json").write_text(json.dumps(facts, indent=1) + "\n")
    names = [f"T {temperature:g}" for temperature in temperatures]
    picture = save_rows(dict(zip(names, rows, strict=True)), with_ending(path, ".png"), model.data)
    return picture or with_ending(path, ".npy")


def _log_density(
    model: GenerativeModel, options: dict[str, Any]
) -> Callable[[Tensor], Tensor] | None:
    """log p of points in the plane, if the samples follow it and nothing else is asked for."""
    plain = options.get("temperature", 1.0) == 1.0 and options.get("truncate") is None
    of_points = tuple(model.data.event_shape) == (2,) and not model.data.condition_shapes
    if not (plain and of_points and model.kind is Likelihood.EXACT):
        return None
    device = next(model.parameters()).device

    @torch.no_grad()
    def log_density(points: Tensor) -> Tensor:
        with model.frozen():
            parts = [model.log_prob(part.to(device)).value for part in points.split(_CHUNK)]
        return torch.cat(parts)

    return log_density
