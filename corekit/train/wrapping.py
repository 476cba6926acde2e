"""What computes the loss in training: the model in the wrappers of Accelerate and of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from corekit.errors import UsageError
from corekit.interfaces.model import GenerativeModel
from corekit.train.faster import faster
from corekit.train.phases import alone

if TYPE_CHECKING:
    from corekit.train.trainer import Trainer


class InPhase(nn.Module):
    """A model in one phase: what is wrapped where there are several."""

    def __init__(self, model: GenerativeModel, phase: str) -> None:
        super().__init__()
        self.model, self.phase = model, phase

    def forward(self, batch: Any, draws: Any) -> Any:
        """The loss terms of the phase."""
        return self.model(batch, phase=self.phase, draws=draws)


def wrap(trainer: Trainer) -> None:
    """Wrap the model of a trainer, once for each phase, and fp16's optimizers.

    DDP waits for the gradient of every parameter that asks for one when it wraps, so each phase
    has a wrapper of its own, which knows the parameters of the phase alone.

    Raises:
        UsageError: If a model with several phases is to be sharded.
    """
    accelerator, phases = trainer.accelerator, trainer.phases
    if len(phases) == 1:
        phases[0].module = faster(trainer.sharding.prepare(accelerator), trainer.train)
    elif trainer.sharding.on:
        raise UsageError(
            f"train.sharding: must be none for {type(trainer.model).__name__}, whose steps have "
            f"the phases {', '.join(phase.name for phase in phases)}, got full."
        )
    else:
        accelerator.prepare_model(trainer.model, evaluation_mode=True)  # precision only
        for phase in phases:
            with alone(phase, phases):
                module = accelerator.prepare_model(InPhase(trainer.model, phase.name))
                phase.module = faster(module, trainer.train)
    if accelerator.scaler is not None:  # fp16: the wrapper skips steps that overflowed
        for phase in phases:
            phase.optimizer = accelerator.prepare_optimizer(phase.optimizer)
