"""What a sampler goes through, kept step by step."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import RowDraws
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import Prediction
from corekit.report.film import save_film
from corekit.train.conditions import Conditions
from corekit.train.sampling import made_by_steps


class Recorder:
    """A callback of a sampler that keeps x after some steps, evenly spread, and after the last.

    Args:
        most: Of these at most.
    """

    def __init__(self, most: int) -> None:
        self.most, self._every = most, 1
        self._kept: dict[int, Tensor] = {}
        self._last: tuple[int, Tensor] | None = None

    def __call__(self, done: int, x: Tensor, prediction: Prediction) -> None:
        """Step number ``done`` has been taken, and gave x."""
        self._last = done, x
        if done % self._every == 0:
            self._kept[done] = x.cpu()
        while len(self._kept) >= self.most:  # room for the last one
            self._every *= 2
            self._kept = {k: v for k, v in self._kept.items() if k % self._every == 0}

    @property
    def frames(self) -> list[Tensor]:
        """x after the steps that were kept, in their order."""
        last = {} if self._last is None else {self._last[0]: self._last[1].cpu()}
        return list({**self._kept, **last}.values())


@torch.no_grad()
def film(
    model: GenerativeModel,
    n: int,
    seed: int,
    most: int,
    *,
    conditions: Conditions | None = None,
    **options: Any,
) -> list[Tensor]:
    """The first n samples of `generate` on their way from noise, in at most so many frames.

    Shape: each ``(n, *event_shape)``; the last one holds the samples.

    Raises:
        UsageError: If the samples of the model are not made step by step.
    """
    part = made_by_steps(model)
    if part is None:
        raise UsageError(
            "Film: the samples must be made step by step, by a diffusion, got a model that "
            "makes them in one pass."
        )
    recorder = Recorder(most)
    given: dict[str, Any] = {} if conditions is None else {"condition": conditions(range(n))}
    with model.frozen():
        draws = RowDraws(seed, range(n))
        model.sample(n, generator=draws, callback=recorder, **given, **options)
    if not recorder.frames:
        raise UsageError("Film: the sampler must call back after its steps, got one that does not.")
    return [part.restored(x) for x in recorder.frames]


def film_and_save(
    model: GenerativeModel, path: Path, n: int, seed: int, most: int = 48, **options: Any
) -> Path:
    """`film`, written to a GIF."""
    return save_film(film(model, n, seed, most, **options), path, model.data)
