"""Reading the state dict of another library, without running what is in the file."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from corekit.errors import CheckpointError

_WRONG = (  # a file that is no pickle at all may raise any of these while it is read as one
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
)


def read_state(path: Path, within: Sequence[str] = ("state_dict",)) -> dict[str, Tensor]:
    """The tensors of a ``.pt``, ``.safetensors`` or ``.npz`` file.

    Args:
        path: The file.
        within: Names under which a larger checkpoint may keep its state dict.

    Raises:
        CheckpointError: If it holds anything but a dict of tensors.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {k: torch.from_numpy(np.array(archive[k])) for k in archive.files}
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: must be a file, got none of that name.") from error
    except (*_WRONG, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path}: must be a state dict in a .pt, .safetensors or .npz file, got: {reason}"
        ) from error
    if isinstance(loaded, Mapping):
        loaded = next((loaded[name] for name in within if name in loaded), loaded)
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise CheckpointError(
            f"{path}: must hold a state dict of tensors, got a {type(loaded).__name__}. Save "
            "flow.state_dict() instead of the flow."
        )
    return dict(loaded)
