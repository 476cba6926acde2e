"""What makes the same computation faster or smaller: compiling, layout, recomputing."""

import warnings
from typing import Any

import torch
from torch import nn

from corekit.interfaces.records import Batch
from corekit.nn.recompute import recompute_activations
from corekit.spec import TrainSpec


def lay_out(model: nn.Module, train: TrainSpec) -> None:
    """Store the weights of convolutions channels last, if asked."""
    if train.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def save_memory(model: nn.Module, train: TrainSpec) -> None:
    """Let the parts that can compute their activations again, if asked; warn if none can."""
    if train.activation_checkpointing and not recompute_activations(model):
        warnings.warn(
            f"train.activation_checkpointing: {type(model).__name__} has no part that can "
            "recompute its activations, so it takes as much memory as without.",
            stacklevel=3,
        )


@torch.no_grad()
def match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lay out what an optimizer remembers like its parameters, which reading a file does not.

    Fused kernels go through memory without looking: on another layout they would be wrong.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            same_shape = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if same_shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def as_stored(batch: Batch, train: TrainSpec) -> Batch:
    """The batch with images ``(B, C, H, W)`` channels last, if asked; the same numbers."""
    if not train.channels_last or batch.x.ndim != 4:
        return batch
    return batch._replace(x=batch.x.contiguous(memory_format=torch.channels_last))


def faster(wrapped: nn.Module, train: TrainSpec) -> nn.Module:
    """The wrapped model, compiled if asked.

    The model itself stays as it is: checkpoints, averages, evaluations and samples use it, so no
    name in a checkpoint tells that a run was compiled.
    """
    if not train.compile:
        return wrapped
    compiled: Any = torch.compile(wrapped)
    return compiled
