"""Accelerate behind one function: the only module that imports it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from corekit.errors import UsageError
from corekit.spec import TrainSpec
from corekit.train.processes import Processes

# What `accelerate launch` sets where it is to shard weights: as train.sharding does (FSDP2), or in
# ways that corekit does not know.
_FSDP = "ACCELERATE_USE_FSDP"
_UNKNOWN = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "FSDP_OFFLOAD_PARAMS": "fsdp_offload_params",
    "FSDP_ACTIVATION_CHECKPOINTING": "fsdp_activation_checkpointing",
}
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(train: TrainSpec) -> Accelerator:
    """An Accelerator for the section ``train`` of a spec.

    Raises:
        UsageError: If the device is not there, fp16 is asked of a CPU (which would silently
            compute in fp32), fewer processes came than the launcher was asked for, or it was
            asked to shard the weights otherwise than by FSDP2.
    """
    check_sharding()
    device = train.device
    on_cpu = _on_cpu(device)
    if not on_cpu and device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(
            f"train.device: must be a device that is there, got '{device}' and no CUDA. Use 'auto'."
        )
    if train.precision == "fp16" and on_cpu:
        raise UsageError("train.precision: must be fp32 or bf16 on a CPU, got fp16. Use bf16.")
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    # A second run in one process may differ; processes that have met stay together.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    with _unsharded():
        accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=_MIXED[train.precision],
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=train.find_unused)
            ],
        )
    check_launch(accelerator.num_processes)
    return accelerator


def shards(train: TrainSpec) -> bool:
    """Whether to share out weights: the spec says so, or ``accelerate launch --use_fsdp``."""
    return train.sharding == "full" or _is_set(_FSDP)


def check_sharding() -> None:
    """Refuse a launcher that shards weights otherwise than by FSDP2.

    Raises:
        UsageError: If it does.
    """
    unknown = [word for name, word in _UNKNOWN.items() if _is_set(name)]
    if _is_set(_FSDP) and os.environ.get("FSDP_VERSION", "1") != "2":
        unknown.append("fsdp_version " + os.environ.get("FSDP_VERSION", "1"))
    if unknown:
        raise UsageError(
            f"launch: weights must be whole in every process or shared out by FSDP2, got "
            f"{unknown[0]}. Leave it out and set train.sharding: full."
        )


def _is_set(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1")


@contextmanager
def _unsharded() -> Iterator[None]:
    """Accelerate shards on GPUs alone; `Sharding` does so everywhere, so Accelerate need not."""
    asked = os.environ.pop(_FSDP, None)
    try:
        yield
    finally:
        if asked is not None:
            os.environ[_FSDP] = asked


def launched(device: str) -> tuple[Processes, torch.device]:
    """The processes that a launcher started (one, if none did), and the device of this one.

    For commands that use a model; training has its `make_accelerator`.

    Raises:
        UsageError: If the device is not there, or processes are missing.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        check_launch(1)
        return Processes(), pick_device(device)
    state = PartialState(cpu=_on_cpu(device))
    check_launch(state.num_processes)
    return Processes(), state.device


def check_launch(processes: int) -> None:
    """Refuse to run with fewer processes than the launcher was asked for, or other shards.

    ``accelerate launch --cpu --num_processes 2`` starts one process. What is left of the two is
    the address at which they would have met.

    Raises:
        UsageError: If processes are missing, or weights are to be sharded in a way that is not
            known here.
    """
    check_sharding()
    environment = os.environ
    asked = environment.get("WORLD_SIZE")
    missing = asked is not None and int(asked) != processes
    if asked is None and "ACCELERATE_MIXED_PRECISION" in environment:
        missing, asked = "MASTER_ADDR" in environment and processes == 1, "several"
    if missing:
        raise UsageError(
            f"launch: all {asked} processes must start, got {processes}. Start them with: "
            "torchrun --nproc_per_node N -m corekit train SPEC."
        )


def _on_cpu(device: str) -> bool:
    return device == "cpu" or (
        device == "auto" and not torch.cuda.is_available() and not torch.backends.mps.is_available()
    )


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
