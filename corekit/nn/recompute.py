"""Activations that are computed again in the backward pass instead of being kept."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from corekit.interfaces.draws import Draws


def recomputed(owner: nn.Module, function: Callable[..., Any], *inputs: Any) -> Any:
    """``function(*inputs)``, whose inputs are kept and whose inner activations are not.

    A module with depth has ``recompute = False`` on its class and calls its parts through this
    function; one that inherits it and is to be recomputed as a whole has None.
    ``train.activation_checkpointing`` sets ``recompute`` to True; then, in training, the part is
    called a second time in the backward pass. The numbers are the same bit for bit: dropout and
    `Draws` give the second time what they gave the first, and buffers, such as running statistics,
    move once.

    Args:
        owner: The module that calls.
        function: A part, or a method of the owner. What it needs gradients for and is no parameter
            must be among the inputs.
        inputs: Positional.
    """
    if not (getattr(owner, "recompute", False) and owner.training and torch.is_grad_enabled()):
        return function(*inputs)
    if isinstance(function, nn.Module) and any(_has_depth(m) for m in function.modules()):
        return function(*inputs)  # it recomputes its own parts: once is enough
    options: dict[str, Any] = {}
    draws = [value for value in inputs if isinstance(value, Draws)]
    part = function if isinstance(function, nn.Module) else owner
    buffers = list(part.buffers())
    # A compiler takes no context; it draws from no generator and moves no buffers by itself.
    if (draws or buffers) and not torch.compiler.is_compiling():
        rewind = [source.mark() for source in draws]

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _again(draws, rewind, buffers)

        options["context_fn"] = contexts
    return checkpoint(function, *inputs, use_reentrant=False, **options)


@contextmanager
def _again(
    draws: list[Draws], rewind: list[Callable[[], None]], buffers: list[torch.Tensor]
) -> Iterator[None]:
    """The second time: the same draws, and no trace but gradients."""
    forward = [source.mark() for source in draws]
    kept = [buffer.detach().clone() for buffer in buffers]
    for back in rewind:
        back()
    try:
        yield
    finally:
        for go in forward:
            go()
        for buffer, value in zip(buffers, kept, strict=True):
            buffer.data.copy_(value)  # unseen by autograd, which may have saved the buffer


def recompute_activations(model: nn.Module) -> list[str]:
    """Ask every module that can to recompute; returns their names."""
    found = []
    for name, module in model.named_modules():
        if _has_depth(module):
            module.recompute = True
            found.append(name)
    return found


def _has_depth(module: nn.Module) -> bool:
    return getattr(type(module), "recompute", None) is not None
