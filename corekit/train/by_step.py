"""The variational bound of a diffusion model on held-out data, step by step."""

import math
from typing import Any

import torch
from torch import Tensor

from corekit.data.loading import fixed_batches
from corekit.diffusion.density import DiffusionDensity
from corekit.errors import UsageError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import RowDraws, seed_of
from corekit.interfaces.model import DensityModel, GenerativeModel
from corekit.train.heldout import nonempty
from corekit.train.processes import ALONE, Share
from corekit.train.sampling import ROWS


def bound_by_step(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    seed: int = 0,
    *,
    num: int | None = None,
    share: Share = ALONE,
) -> dict[str, Any]:
    """Every term of the bound, averaged over examples: one call of the denoiser per step and row.

    Args:
        model: A diffusion model.
        dataset: Its data.
        split: Which of them.
        seed: Of all noise; that of a row depends on (seed, row) alone.
        num: The first so many examples; all unless given.
        share: Of several processes, each takes some of the batches; all get the figures.

    Returns:
        ``bits_per_dim`` with half of its 95 % interval, ``interval95``, over the ``examples``;
        ``prior``; and by step, that of t = 0 first, ``bits``, ``x_0_error`` and ``eps_error``,
        squared and per coordinate.

    Raises:
        UsageError: If it is no diffusion model.
        NoDensity: If it has no bound.
        Stopped: If someone asks to stop before the end.
    """
    density = model.density if isinstance(model, DensityModel) else None
    if not isinstance(density, DiffusionDensity):
        raise UsageError(
            f"evaluate: the bound by steps must be that of a diffusion model, got "
            f"{type(model).__name__}. Leave out --by-step."
        )
    device = next(model.parameters()).device
    examples = nonempty(dataset, split)
    rows = min(len(examples), num or len(examples))

    def terms(start: int) -> tuple[Tensor, Tensor]:
        chosen = range(start, min(start + ROWS, rows))
        batch = next(fixed_batches(examples, seed_of(seed, "heldout"), ROWS, chosen))
        moved, draws = batch.to(device), RowDraws(seed, batch.rows)
        found = density.bound(moved.x, moved.condition, generator=draws)
        total, prior, *steps = (value.double().cpu() for value in found)
        return torch.stack((total, prior), 1), torch.stack(steps, 2)

    with model.frozen():
        pairs = share.map(terms, range(0, rows, ROWS))
    whole, steps = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    total, prior = whole.unbind(1)
    half = 1.96 * total.std().item() / math.sqrt(rows) if rows > 1 else math.inf
    bits, x_0_error, eps_error = steps.mean(0).T.tolist()
    return {
        "bits_per_dim": total.mean().item(),
        "interval95": half,
        "examples": rows,
        "prior": prior.mean().item(),
        "bits": bits,
        "x_0_error": x_0_error,
        "eps_error": eps_error,
    }
