"""Values that depend on parameters alone, kept while the parameters stay as they are."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
V = TypeVar("V")
Version = tuple[tuple[int, int, torch.dtype], ...]


class Derived(nn.Module):
    """A module that computes something from its parameters at each call: a product, an inverse.

    It calls `derived` for it. Inside ``with frozen(model):`` and without gradients the value is
    kept, and computed anew only if a parameter has changed: an optimizer step, a loaded state.
    """

    _kept: dict[str, tuple[Version, Any]] | None = None

    def derived(self, name: str, compute: Callable[[], V], *of: Tensor) -> V:
        """The value of ``compute``, which depends on the tensors ``of`` and nothing else."""
        if self._kept is None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return compute()
        version = tuple((t.data_ptr(), t._version, t.dtype) for t in of)
        found = self._kept.get(name)
        if found is None or found[0] != version:
            found = self._kept[name] = (version, compute())
        value: V = found[1]
        return value


class Freezable(nn.Module):
    """A module with ``frozen`` as a method: models, densities and bijectors."""

    def frozen(self: M) -> AbstractContextManager[M]:
        """Keep what layers derive from their parameters while a ``with`` block runs: `frozen`."""
        return frozen(self)


@contextmanager
def frozen(model: M) -> Iterator[M]:
    """Keep what the modules of a model derive from their parameters, until the block ends.

    For evaluation and sampling, which call the same weights again and again. Nothing is kept where
    gradients are recorded. A parameter that changes inside the block is noticed.

    Example:
        >>> from corekit.flows.linear import Linear
        >>> layer = Linear((3,))
        >>> with frozen(layer), torch.no_grad():
        ...     x = layer.inverse(torch.zeros(1, 3))[0]  # W is factorised here
        ...     x = layer.inverse(torch.ones(1, 3))[0]  # and not again
    """
    fresh = [m for m in model.modules() if isinstance(m, Derived) and m._kept is None]
    for module in fresh:
        module._kept = {}
    try:
        yield model
    finally:
        for module in fresh:
            module._kept = None
