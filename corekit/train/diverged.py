"""When numbers stop being finite: which step, which term, which module; and that step again."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from corekit.checkpoint.folder import steps as checkpoints
from corekit.data.loading import CounterSampler, Loader
from corekit.errors import CheckpointError, CorekitError, DivergedError, UsageError
from corekit.interfaces.draws import seed_of
from corekit.train.caching import prepare
from corekit.train.meter import Bad
from corekit.train.phases import Phase
from corekit.train.processes import Share

if TYPE_CHECKING:
    from corekit.spec import RunSpec
    from corekit.train.trainer import Trainer

_SECONDS = 120.0  # that a run which is over spends on finding the module
_ADVICE = "Lower the learning rate, set train.grad_clip, or use precision fp32."


class Culprit(NamedTuple):
    """The first number of a step that is not finite, in the order of computation."""

    where: str
    """``output`` or ``gradient``."""
    name: str
    """Of the module or the parameter."""

    def __str__(self) -> str:
        return f"the {self.where} of '{self.name}'"


def diverged(trainer: Trainer, message: str, bad: Bad | None) -> DivergedError:
    """The error that ends a run, after ``diverged.json`` is written beside its log.

    Called by all processes. Of one process, the steps since the last checkpoint are taken again to
    find the module, for two minutes at most.

    Args:
        trainer: After the step that showed it.
        message: What must be finite and is not.
        bad: The first step that was not finite; None if none was (held-out data, say).
    """
    found = [b for b in trainer.processes.gather(bad) if b is not None]
    facts: dict[str, Any] = {"checkpoint": _last_checkpoint(trainer)}
    first = ""
    if found:
        worst = max(found, key=lambda b: b.ago)
        facts |= describe_step(trainer, trainer.step - 1 - worst.ago, worst.values)
        first = f" Step {facts['step']}: {facts['term']}."
    culprit, said = _find(trainer, facts)
    facts["first"] = culprit and culprit._asdict()
    path = trainer.run.path / "diverged.json"
    trainer.processes.from_main(lambda: path.write_text(json.dumps(facts, indent=1) + "\n"))
    again = f" Take that step again: corekit train SPEC --replay {path}." if found else ""
    saved = max(trainer.saved_step, 0)
    return DivergedError(
        f"{message}{first}{said} The last checkpoint is of step {saved}.{again} {_ADVICE}"
    )


def describe_step(trainer: Trainer, before: int, values: dict[str, float]) -> dict[str, Any]:
    """All that a step depends on beside the weights, as ``diverged.json`` holds it.

    Args:
        trainer: Whose step it is.
        before: Steps taken before it.
        values: Its scalars.
    """
    train, world = trainer.train, trainer.processes.world
    size = len(trainer.dataset.split("train"))
    data_seed = seed_of(train.seed, "data")
    rows = CounterSampler(size, train.batch_size, data_seed).batch(before)
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    terms = [name for name in wrong if name.split("/")[-1] not in ("loss", "grad_norm")]
    name = (terms or wrong or ["grad_norm"])[0]

    def seeds(phase: Phase) -> dict[str, list[int]]:
        at = train, before
        return {
            r: [phase.seed(*at, r, rank) for rank in range(world)] for r in ("noise", "dropout")
        }

    others = {phase.name: seeds(phase) for phase in trainer.phases if phase is not trainer.main}
    return {
        "step": before + 1,
        "steps_before": before,
        "term": f"{name} = {values.get(name, math.nan)}",
        "terms": {name: str(value) for name, value in values.items()},
        "rows": [{"epoch": epoch, "index": index} for epoch, index in rows],
        "seeds": {
            "train.seed": train.seed,
            "data": data_seed,
            **seeds(trainer.main),
            **({"phases": others} if others else {}),
        },
        "processes": world,
        "started_from": trainer.started_from,
    }


def replay(spec: RunSpec, file: str | Path) -> Culprit | None:
    """Take the step of a ``diverged.json`` again, from the last checkpoint before it.

    The steps in between are those of the run, bit for bit. Nothing is written.

    Args:
        spec: That of the run.
        file: The file; its run folder is around it.

    Returns:
        The first number that is not finite, or None: the step went well.

    Raises:
        UsageError: If the file describes no step, or the number of processes is another.
        CheckpointError: If the file cannot be read.
    """
    path = Path(file)
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: must be a diverged.json of a run, got {error}.") from error
    if "steps_before" not in facts:
        raise UsageError(f"{path}: must describe a training step, got none: it was an evaluation.")
    return _replay(spec, path.parent, facts)


def _replay(
    spec: RunSpec, run: Path, facts: dict[str, Any], seconds: float = math.inf
) -> Culprit | None:
    from corekit.train.trainer import Trainer

    until = time.monotonic() + seconds
    start = facts["started_from"]
    begin: dict[str, Any] = {}
    if facts["checkpoint"] is not None:
        begin = {"resume": run / facts["checkpoint"]}
    elif start is not None:
        begin = {"start": start["checkpoint"], "what_fits": True}
    with TemporaryDirectory() as folder:
        trainer = Trainer(spec, Path(folder) / "replay", quiet=True, **begin)
        if trainer.processes.world != facts["processes"]:
            raise UsageError(
                f"replay: there must be {facts['processes']} processes, as in the run, got "
                f"{trainer.processes.world}."
            )
        trainer.frozen.train()
        prepare(trainer, Share(trainer.processes), run)
        batches = _batches(trainer, trainer.step)
        while trainer.step < facts["steps_before"]:
            if time.monotonic() > until:
                raise TimeoutError(f"replay: step {trainer.step} after {seconds:g} s")
            trainer._step(next(batches))
        return examine(trainer, next(batches))


def examine(trainer: Trainer, batch: Any) -> Culprit | None:
    """Take one step and look at every output and every gradient on the way."""
    # Compiled code calls no hooks.
    for phase in trainer.phases:
        phase.module = getattr(phase.module, "_orig_mod", phase.module)
    with _watched(trainer.model) as found:
        trainer._step(batch)
    return found[0] if found else None


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[Culprit]]:
    """What was not finite inside the ``with`` block, in order: the innermost module is first."""
    found: list[Culprit] = []
    handles = []

    def output_of(name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not found and not _finite(output):
                found.append(Culprit("output", name))

        return look

    def gradient_of(name: str) -> Any:
        def look(parameter: Tensor) -> None:
            if not found and not _finite(parameter.grad):
                found.append(Culprit("gradient", name))

        return look

    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_hook(output_of(name)))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            handles.append(parameter.register_post_accumulate_grad_hook(gradient_of(name)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _finite(value: Any) -> bool:
    tensors = [v for v in tree_leaves(value) if isinstance(v, Tensor) and v.is_floating_point()]
    return all(bool(v.isfinite().all()) for v in tensors)


def _find(trainer: Trainer, facts: dict[str, Any]) -> tuple[Culprit | None, str]:
    """The culprit by taking the step again, and what to say of it."""
    if trainer.processes.world > 1 or "steps_before" not in facts:
        return None, ""
    try:
        culprit = _replay(trainer.spec, trainer.run.path, facts, _SECONDS)
    except TimeoutError:
        return None, ""
    except CorekitError as error:
        return None, f" Taken again, it fails: {error}"
    if culprit is None:
        return None, " Taken again, it is finite: the weights were changed outside of a step."
    return culprit, f" The first number that is not finite is in {culprit}."


def _last_checkpoint(trainer: Trainer) -> str | None:
    found = checkpoints(trainer.run.path)
    return str(found[-1].relative_to(trainer.run.path)) if found else None


def _batches(trainer: Trainer, step: int) -> Iterator[Any]:
    train = trainer.train
    return iter(
        Loader(
            trainer.examples.split("train"),
            train.batch_size,
            seed=seed_of(train.seed, "data"),
            start_step=step,
            rank=trainer.processes.rank,
            world=trainer.processes.world,
        )
    )
