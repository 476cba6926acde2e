"""The phases of a model: which parameters each moves, with which optimizer and schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

from corekit.build import component
from corekit.errors import PluginError, UsageError
from corekit.interfaces.draws import seed_of
from corekit.interfaces.model import MAIN, GenerativeModel
from corekit.spec.train import PhaseSpec, TrainSpec
from corekit.train.groups import grouped

T = TypeVar("T")


class Phase:
    """One phase of a step.

    Args:
        name: Its name. What ``main`` logs and saves has plain names, of others ``critic/loss``.
        groups: Its parameters as an optimizer takes them; frozen ones are in no phase.
        train: What a phase has that the spec says nothing of.
        spec: What the spec says of this one.

    Attributes:
        module: What computes its loss: the model, wrapped.
        parameters: Those that ask for gradients, in the order of the model.
        every: Steps from one to the next; the first step has all phases.
    """

    module: nn.Module
    parameters: list[nn.Parameter]

    def __init__(self, name: str, groups: list[Any], train: TrainSpec, spec: PhaseSpec) -> None:
        self.name, self.every = name, spec.every
        self.optimizer = component("optimizer", spec.optimizer or train.optimizer)(groups)
        self.lr_schedule = component("lr_schedule", spec.lr_schedule or train.lr_schedule)
        self.base_lr = [group["lr"] for group in self.optimizer.param_groups]

    @property
    def file(self) -> str:
        """What its optimizer is called in a checkpoint."""
        return "optimizer" if self.name == MAIN else f"optimizer-{self.name}"

    def named(self, values: Mapping[str, T]) -> dict[str, T]:
        """Values under the names that the log has for them."""
        if self.name == MAIN:
            return dict(values)
        return {f"{self.name}/{name}": value for name, value in values.items()}

    def seed(self, train: TrainSpec, step: int, role: str, rank: int) -> int:
        """The seed of the noise or the dropout of a step; the streams of phases differ."""
        key = (role, rank) if self.name == MAIN else (role, self.name, rank)
        return seed_of(train.seed, step, *key)

    def set_lr(self, step: int) -> None:
        """Set the learning rates of a step."""
        for group, base in zip(self.optimizer.param_groups, self.base_lr, strict=True):
            group["lr"] = self.lr_schedule(step, base)


def phases_of(model: GenerativeModel, train: TrainSpec) -> tuple[Phase, ...]:
    """The phases of a model in their order, without those whose parameters are all frozen.

    Args:
        model: Unwrapped.
        train: The section ``train`` of a spec.

    Raises:
        PluginError: If the model's phases are not what the interface says.
        UsageError: If the spec names a phase that the model lacks.
    """
    who, names = type(model).__name__, model.phases
    if MAIN not in names or len({*names}) < len(names) or not all(map(str.isidentifier, names)):
        raise PluginError(
            f"{who}: phases must be different names with '{MAIN}' among them, got {names}. "
            "A bug of the package of the model."
        )
    for name in train.phases:
        if name not in names:
            raise UsageError(
                f"train.phases: must name phases of the model, got '{name}'. {who} has: "
                f"{', '.join(names)}."
            )
    owners = _owners(model)
    made = []
    for name in names:
        own = {parameter for parameter, phase in owners.items() if phase == name}
        groups = grouped(model, train.groups, own)
        if groups:
            phase = Phase(name, groups, train, train.phases.get(name, PhaseSpec()))
            phase.parameters = [
                p for n, p in model.named_parameters() if n in own and p.requires_grad
            ]
            made.append(phase)
    if MAIN not in [phase.name for phase in made]:
        raise UsageError(
            f"train.groups: a parameter of the phase '{MAIN}' must be left to train, got patterns "
            "that freeze all. Freeze fewer."
        )
    return tuple(made)


def _owners(model: GenerativeModel) -> dict[str, str]:
    """The phase of every parameter, by name."""
    owners = {name: model.phase_of(name) for name, _ in model.named_parameters()}
    wrong = next((n for n, phase in owners.items() if phase not in model.phases), None)
    if wrong is not None:
        raise PluginError(
            f"{type(model).__name__}: phase_of must give one of {', '.join(model.phases)}, got "
            f"'{owners[wrong]}' for '{wrong}'. A bug of the package of the model."
        )
    idle = [phase for phase in model.phases if phase not in owners.values()]
    if idle:
        raise PluginError(
            f"{type(model).__name__}: every phase must have parameters, got none for "
            f"'{idle[0]}'. phase_of says which are its own. A bug of the package of the model."
        )
    return owners


@contextmanager
def alone(phase: Phase, phases: Sequence[Phase]) -> Iterator[None]:
    """Let the parameters of one phase ask for gradients, and those of the others not."""
    others = [p for other in phases if other is not phase for p in other.parameters]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
