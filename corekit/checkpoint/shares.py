"""Tensors of which each process holds a share: whole for a checkpoint, and shared out again."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def is_shared_out(tensor: Any) -> bool:
    """Whether a tensor is a share of a whole one (a DTensor of torch)."""
    return hasattr(tensor, "full_tensor")


def whole(tree: Any, *, keep: bool = True) -> Any:
    """A tree with every share made whole, one after the other, on the CPU.

    All processes call it with trees of the same shape; those that do not ``keep`` it get empty
    tensors in their places.
    """
    if isinstance(tree, Mapping):
        return {key: whole(value, keep=keep) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(whole(value, keep=keep) for value in tree)
    if not is_shared_out(tree):
        return tree
    full: Tensor = tree.detach().full_tensor()
    return full.cpu() if keep else torch.empty(0)


def shared_like(value: Any, like: Any) -> Any:
    """A whole tensor as the share that ``like`` is one of; anything else as it is.

    All processes call it, in the same order. A value of another shape is left whole: it is a
    mistake that its user will tell.
    """
    ready = not is_shared_out(like) or not isinstance(value, Tensor) or is_shared_out(value)
    if ready or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    whole_value = value.detach().to(like.device)
    return distribute_tensor(whole_value, like.device_mesh, like.placements)


@torch.no_grad()
def share_out(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of whole tensors, as the model whose state dict is ``own`` takes it."""
    return {name: shared_like(value, own.get(name)) for name, value in state.items()}


@torch.no_grad()
def share_out_memory(optimizer: torch.optim.Optimizer) -> None:
    """Share out what an optimizer remembers like its parameters; a file holds it whole."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:  # in the order that all processes have
            memory = optimizer.state.get(parameter, {})
            for name, value in memory.items():
                memory[name] = shared_like(value, parameter)
