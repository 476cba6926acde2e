"""Counts what would make the host wait for a device, on a machine that has none."""

import sys
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# What item, bool, float, int and == of tensors come to, and operations whose result has a shape
# that depends on values.
WAITING = {
    "_local_scalar_dense",
    "_unique2",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
COPYING = ("__array__", "cpu", "numpy", "tolist")  # these are seen by no dispatcher
ON_CPU_ONLY = {("process.py", "to_prediction")}  # these look where the numbers are


class HostReads(TorchDispatchMode):
    """What was read inside a ``with`` block, by name."""

    def __init__(self):
        super().__init__()
        self.found = []
        self._patches = ExitStack()

    def __enter__(self):
        for name in COPYING:
            plain = getattr(torch.Tensor, name)

            def counted(tensor, *args, name=name, plain=plain, **options):
                self._count(name)
                return plain(tensor, *args, **options)

            self._patches.enter_context(patch.object(torch.Tensor, name, counted))
        return super().__enter__()

    def __exit__(self, *error):
        self._patches.close()
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        by_mask = name in ("index", "index_put_", "index_put") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        repeats = name == "repeat_interleave" and kwargs.get("output_size") is None
        if name in WAITING or by_mask or repeats:
            self._count(name)
        return function(*args, **kwargs)

    def _count(self, name):
        frame = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            if (Path(code.co_filename).name, code.co_name) in ON_CPU_ONLY:
                return
            frame = frame.f_back
        self.found.append(name)
