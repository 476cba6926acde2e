"""The parts of a model that a run leaves as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from corekit.errors import UsageError
from corekit.interfaces.model import GenerativeModel
from corekit.spec import TrainSpec
from corekit.train.groups import unmatched

if TYPE_CHECKING:
    from corekit.train.trainer import Trainer


def narrow(trainer: Trainer) -> Frozen:
    """Freeze what a trainer is not to train, and give its model the loss of the rest.

    Raises:
        UsageError: If a pattern matches nothing, or nothing can be cached that is to be.
    """
    return narrowed(trainer.model, trainer.train)


def narrowed(model: GenerativeModel, train: TrainSpec, where: str = "train") -> Frozen:
    """See `narrow`; ``where`` is what the section is called in an error."""
    frozen = Frozen(model, train.parts, f"{where}.parts")
    single = len(model.phases) == 1
    model.part_loss = None if frozen.everything or not single else model.narrowed(frozen.trained)
    if train.cache and model.part_loss is None:
        raise UsageError(
            f"{where}.cache: the trained parts must see no more of an example than frozen parts "
            f"give them, got {type(model).__name__} with parts {train.parts}. Of a latent model "
            "with a prior train `prior.*` alone, or leave out `cache`."
        )
    return frozen


class Frozen:
    """Freezes parameters by their names, and the modules that hold no others.

    A frozen parameter asks for no gradient. A module all of whose parameters are frozen is in
    evaluation mode: its running statistics stay, nothing is dropped out, and it learns nothing from
    losses. A module without parameters does as the one that it is in.

    Args:
        model: Unwrapped.
        patterns: Of the names of those that are trained; the section ``train.parts`` of a spec.
        where: What the section is called in an error.

    Attributes:
        trained: Names of the parameters that are trained.
        everything: Whether nothing is frozen.

    Raises:
        UsageError: If a pattern matches nothing.
    """

    def __init__(
        self, model: nn.Module, patterns: Sequence[str], where: str = "train.parts"
    ) -> None:
        names = [name for name, _ in model.named_parameters()]
        for i, pattern in enumerate(patterns):
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UsageError(unmatched(f"{where}[{i}]", pattern, names))
        self._model = model
        self.trained = frozenset(n for n in names if any(fnmatchcase(n, p) for p in patterns))
        self.everything = len(self.trained) == len(names)
        frozen = [p for name, p in model.named_parameters() if name not in self.trained]
        for parameter in frozen:
            parameter.requires_grad_(False)
        self._modules = _holding(model, frozenset(frozen), False) if frozen else []
        self.train()

    def train(self) -> None:
        """Put the model in training mode, and what is frozen in evaluation mode."""
        self._model.train()
        for module in self._modules:
            module.training = False

    @contextmanager
    @torch.no_grad()
    def kept(self) -> Iterator[None]:
        """Put back, at the end of a ``with`` block, what was done to frozen parts."""
        # Found anew: to keep them would keep whole weights that have been shared out since.
        named = self._model.named_parameters()
        tensors: list[Tensor] = [p for name, p in named if name not in self.trained]
        tensors += [b for m in self._modules for b in m.buffers(recurse=False)]
        before = [tensor.clone() for tensor in tensors]
        yield
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


def _holding(module: nn.Module, frozen: frozenset[nn.Parameter], inside: bool) -> list[nn.Module]:
    """The modules, this one or inside it, whose parameters are all frozen."""
    own = set(module.parameters())
    whole = own <= frozen if own else inside
    found = [module] if whole else []
    for child in module.children():
        found += _holding(child, frozen, whole)
    return found
