"""A tree of Python values and tensors as a flat dict of tensors plus JSON, bit for bit."""

from typing import Any

import torch
from torch import Tensor

from corekit.errors import CheckpointError

# How a value that JSON cannot hold is written: {tag: payload}.
_TENSOR, _DICT, _TUPLE, _FLOAT = "$tensor", "$dict", "$tuple", "$float"


def pack(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Split a tree into tensors (by path) and a JSON value.

    Dicts keep integer keys, tuples stay tuples, floats keep every bit (as hexadecimal).

    Raises:
        CheckpointError: If the tree holds anything else, which only a pickle could save.
    """
    tensors: dict[str, Tensor] = {}

    def go(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, Tensor):
            key = "/".join(path)
            tensors[key] = value.detach().to("cpu", copy=True).contiguous()
            return {_TENSOR: key}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return {_FLOAT: value.hex()}
        if isinstance(value, dict):
            if not all(isinstance(k, (str, int)) and not isinstance(k, bool) for k in value):
                raise CheckpointError(
                    f"pack: keys must be strings or integers, got {list(value)[:3]}."
                )
            return {_DICT: [[k, go(v, (*path, str(k)))] for k, v in value.items()]}
        if isinstance(value, (list, tuple)):
            items = [go(v, (*path, str(i))) for i, v in enumerate(value)]
            return {_TUPLE: items} if isinstance(value, tuple) else items
        raise CheckpointError(
            f"pack: {'/'.join(path)} must be tensors, numbers, strings, lists or dicts, "
            f"got {type(value).__name__}. corekit writes no pickles."
        )

    return tensors, go(tree, ())


def unpack(tensors: dict[str, Tensor], value: Any) -> Any:
    """The tree that `pack` was given."""
    if isinstance(value, list):
        return [unpack(tensors, v) for v in value]
    if not isinstance(value, dict):
        return value
    ((tag, payload),) = value.items()
    if tag == _TENSOR:
        return tensors[payload]
    if tag == _FLOAT:
        return float.fromhex(payload)
    if tag == _TUPLE:
        return tuple(unpack(tensors, v) for v in payload)
    return {key: unpack(tensors, v) for key, v in payload}


def plain_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the prefixes that wrappers (DDP, torch.compile) add."""
    return {k.removeprefix("module.").replace("_orig_mod.", ""): v for k, v in state.items()}


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal bit for bit (dtype and type included)."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b
