"""Accelerate behind one function: the only module that imports it."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from corekit.errors import UsageError
from corekit.spec import TrainSpec

_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(train: TrainSpec) -> Accelerator:
    """An Accelerator for the section ``train`` of a spec.

    Raises:
        UsageError: If the device is not there, or fp16 is asked of a CPU (which would silently
            compute in fp32).
    """
    device = train.device
    on_cpu = device == "cpu" or (
        device == "auto" and not torch.cuda.is_available() and not torch.backends.mps.is_available()
    )
    if not on_cpu and device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(
            f"train.device: must be a device that is there, got '{device}' and no CUDA. Use 'auto'."
        )
    if train.precision == "fp16" and on_cpu:
        raise UsageError("train.precision: must be fp32 or bf16 on a CPU, got fp16. Use bf16.")
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        AcceleratorState._reset_state(reset_partial_state=True)  # a second run in one process
    return Accelerator(cpu=on_cpu, mixed_precision=_MIXED[train.precision])


def pick_device(name: str) -> torch.device:
    """A device by name; "auto" is the first of cuda, mps and cpu that is there.

    Raises:
        UsageError: If it is not there.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"device: must be a device that is there, got '{name}' ({reason}). Use 'auto'."
        ) from error


def default_generator(device: torch.device) -> torch.Generator:
    """The global generator of a device, which dropout draws from.

    ``torch.manual_seed`` seeds those of all devices and takes a hundred times as long.
    """
    if device.type == "cuda":
        torch.cuda.init()
        return torch.cuda.default_generators[device.index or 0]
    return (
        torch.mps._get_default_mps_generator() if device.type == "mps" else torch.default_generator
    )
