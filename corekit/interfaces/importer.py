"""The Importer interface: from a checkpoint of another code base to a spec and its weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor


class Imported(NamedTuple):
    """What an importer found.

    Attributes:
        spec: The run spec of the same model, as a mapping.
        state: Weights under the names of the model that the spec builds.
        dropped: Keys of the file that the model has no use for.
        notes: What a user should know, one sentence each.
    """

    spec: Mapping[str, Any]
    state: Mapping[str, Tensor]
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Importer(ABC):
    """Reads checkpoints of one other code base.

    **Implement one.** Write ``__call__``. Read files without running what is in them:
    ``torch.load(..., weights_only=True)`` with an allow-list, safetensors, or ``.npz``.

    Raises:
        CheckpointError: If the file is not such a checkpoint.
    """

    @abstractmethod
    def __call__(self, path: Path) -> Imported:
        """The spec and the weights in a file."""
