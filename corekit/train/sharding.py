"""Weights in shares: each process keeps a part of every parameter, gathered where it is used."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from corekit.checkpoint.shares import is_shared_out
from corekit.errors import UsageError
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.model import GenerativeModel
from corekit.train.processes import Processes

_UNIT = 1 << 20  # parameters: fewer are not worth a gathering of their own


class Sharding:
    """Whether, and how, the parameters of a model are shared out over the processes (FSDP2).

    The model is sharded in place by torch's ``fully_shard``, the same call on CPUs and GPUs; names
    stay what they were. Parameters, their gradients, what the optimizer remembers and averages are
    shares; buffers, and parameters without axes, are whole in every process. ``forward`` and the
    model's ``entry_points`` gather what they need and drop it again: all processes must call them.

    Without sharding nothing is done here, and `prepare` is DDP's.

    Args:
        model: In place; initialised, unwrapped, before an optimizer sees its parameters.
        processes: Who shares. One process keeps everything.
        device: Where the model is.
        wanted: Whether to shard.
    """

    def __init__(
        self, model: GenerativeModel, processes: Processes, device: torch.device, *, wanted: bool
    ) -> None:
        self._model, self._processes = model, processes
        self.on = wanted and processes.world > 1
        self._inside = False
        if self.on:
            self._shard(device)

    def _shard(self, device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        strided = [n for n, p in self._model.named_parameters() if not p.is_contiguous()]
        if strided:
            raise UsageError(
                "train.channels_last: must be false with sharded weights, which torch cannot share "
                f"out in this layout, got '{strided[0]}'. Leave out one of the two."
            )
        options: dict[str, Any] = {
            "mesh": init_device_mesh(device.type, (self._processes.world,)),
            "reshard_after_forward": True,
        }
        scalars = {p for p in self._model.parameters() if p.ndim == 0}
        if scalars:  # torch 2.7 and later can leave some out
            options["ignored_params"] = scalars
        for unit in units(self._model, _UNIT):
            fully_shard(unit, **options)
            for method in ("inverse", "logdet") if isinstance(unit, Bijector) else ():
                register_fsdp_forward_method(unit, method)
        fully_shard(self._model, **options)
        for scalar in (p for p in scalars if p.requires_grad):
            scalar.register_post_accumulate_grad_hook(self._mean_gradient)
        for name in self._model.entry_points:
            plain = getattr(self._model, name)
            register_fsdp_forward_method(self._model, name)
            setattr(self._model, name, self._entered(plain, getattr(self._model, name)))
        self._model.register_forward_pre_hook(self._align)

    def prepare(self, accelerator: Accelerator) -> nn.Module:
        """The model as a step calls it: with precision, and gradients averaged over processes."""
        if not self.on:
            return accelerator.prepare_model(self._model)
        # Its autocast alone: it shards on GPUs only.
        return accelerator.prepare_model(self._model, device_placement=False, evaluation_mode=True)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """The model with whole weights inside a ``with`` block, where processes may part.

        All enter and leave it together; in between each may call the model as often as it likes.
        """
        shards = self._shards()
        for shard in shards:
            shard.set_reshard_after_forward(False, recurse=False)
            shard.unshard()
        try:
            yield
        finally:
            for shard in shards:
                shard.set_reshard_after_forward(True, recurse=False)
                shard.reshard()

    def unsynced(
        self, accelerator: Accelerator, wrapped: nn.Module
    ) -> AbstractContextManager[None]:
        """Backward passes that leave gradients to be averaged by a later one."""
        return self._unsynced() if self.on else accelerator.no_sync(wrapped)

    @contextmanager
    def _unsynced(self) -> Iterator[None]:
        model: Any = self._model
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)

    def _shards(self) -> list[Any]:
        """Every module that gathers for itself."""
        if not self.on:
            return []
        from torch.distributed.fsdp import FSDPModule

        return [module for module in self._model.modules() if isinstance(module, FSDPModule)]

    def _entered(self, plain: Callable[..., Any], entry: Callable[..., Any]) -> Callable[..., Any]:
        """An entry point; one that another calls finds the weights gathered, and leaves them so."""

        @functools.wraps(plain)
        def method(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return plain(*args, **kwargs)
            self._inside = True
            try:
                return entry(*args, **kwargs)
            finally:
                self._inside = False

        return method

    def _align(self, model: nn.Module, inputs: Any) -> None:
        """Before each training step all have the buffers of the main process, as with DDP."""
        if model.training and torch.is_grad_enabled():
            self._processes.align(model)

    def _mean_gradient(self, scalar: Tensor) -> None:
        """What DDP does, for a parameter that is whole."""
        gradient = scalar.grad
        if gradient is not None:
            torch.distributed.all_reduce(gradient)
            gradient.div_(self._processes.world)


def units(model: nn.Module, least: int) -> list[nn.Module]:
    """The parts that gather for themselves, innermost first: large ones of known callers.

    Of a bijector nothing but ``forward``, ``inverse`` and ``logdet`` is called, of a denoiser that
    prepares nothing ``forward``; other parts are gathered with the whole model.
    """
    found: list[nn.Module] = []
    taken: set[nn.Parameter] = set()

    def visit(part: nn.Module) -> None:
        for child in part.children():
            visit(child)
        known = isinstance(part, Bijector) or (
            isinstance(part, Denoiser) and type(part).prepared is Denoiser.prepared
        )
        rest = {p for p in part.parameters() if p not in taken}
        if known and part not in found and sum(p.numel() for p in rest) >= least:
            found.append(part)
            taken.update(rest)

    visit(model)
    return found


@torch.no_grad()
def clip(parameters: list[nn.Parameter], limit: float) -> Tensor:
    """Clip the gradient, shares and whole ones together; returns its norm ``()`` before."""
    shares = [p for p in parameters if is_shared_out(p.grad)]
    if not shares:
        return nn.utils.clip_grad_norm_(parameters, limit)
    parts = [shares, [p for p in parameters if not is_shared_out(p.grad) and p.grad is not None]]
    norms = [_norm(part) for part in parts if part]
    norm = torch.linalg.vector_norm(torch.stack(norms))
    for part in parts:
        nn.utils.clip_grads_with_norm_(part, limit, norm)
    return norm


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    norm: Any = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    found: Tensor = norm.full_tensor() if is_shared_out(norm) else norm
    return found
