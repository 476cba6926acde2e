"""From the tensors of a port of Glow to a spec and the weights of ours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from corekit.interfaces.importer import Imported

State = dict[str, Tensor]
Inputs = Literal["centred", "to_tensor"]
Labels = Literal["class", "several"]

INPUTS = {"centred": (-0.5, 1.0), "to_tensor": (-0.5 / 256, 256 / 255)}
"""(b, s): the port sees s (x + b), where ours sees x = (level + u) / levels in [0, 1)."""


@dataclass
class Found:
    """A flow as an importer found it, under our names.

    Attributes:
        steps: Of each level, of each flow step: its tensors.
        splits: Of each level but the last: its tensors.
        top: Of the prior of the deepest level.
        options: Of `Glow`, beyond levels and steps.
        head: Of the class head of a flow that is conditioned on labels.
        dropped: Keys that ours has no use for.
    """

    steps: list[list[State]]
    splits: list[State]
    top: State
    options: dict[str, Any]
    head: State = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def bijector_state(found: Found) -> State:
    """Weights under the names of `Glow`."""
    state: State = {}
    for level, steps in enumerate(found.steps):
        at = f"members.{len(steps) + 1}."
        place = at.join(["", *["of."] * level]) if level else ""
        for i, tensors in enumerate(steps):
            state |= {f"{place}members.{i + 1}.members.{k}": v for k, v in tensors.items()}
        last = level == len(found.steps) - 1
        state |= {
            f"{place}{at}{k}": v for k, v in (found.top if last else found.splits[level]).items()
        }
    return state


def imported(
    found: Found, inputs: Inputs, bits: int, data_path: str, labels: Labels = "class"
) -> Imported:
    """A run spec of the same model, and its weights.

    A flow that is conditioned on labels has a class head; labels says what they are.
    """
    first = found.steps[0][0]
    shift, scale = INPUTS[inputs]
    first["0.shift"] = first["0.shift"] / scale + shift
    first["0.log_scale"] = first["0.log_scale"] + math.log(scale)
    counts = {len(steps) for steps in found.steps}
    bijector = {
        "type": "glow.glow",
        "levels": len(found.steps),
        "steps": counts.pop(),
        "floor": 0.0,
        "max_log_std": None,
        **found.options,
    }
    model: dict[str, Any] = {
        "type": "flow",
        "dequantize": "realnvp.uniform_dequantize",
        "bijector": bijector,
    }
    data: dict[str, Any] = {"type": "image_folder", "path": data_path, "bits": bits}
    if labels == "class" or not found.head:
        data["channels"] = first["0.shift"].numel() // 4  # behind a squeeze
    if found.head and labels == "class":
        model |= {"type": "glow.classified_flow", "classes": len(found.head["bias"])}
        data["labels"] = "folder"
    elif found.head:
        model["type"] = "glow.classified_flow"
        data |= {"type": "arrays", "vector": "labels"}
    state = {f"density.bijector.{k}": v.clone() for k, v in bijector_state(found).items()}
    state |= {f"head.{k}": v.clone() for k, v in found.head.items()}
    spec = {"version": 1, "model": model, "data": data}
    return Imported(spec, state, found.dropped, found.notes)


def normed(prefix: str, weight: Tensor, shift: Tensor, log_scale: Tensor) -> State:
    """A `NormedConv` with ActNorm."""
    return {f"{prefix}.weight": weight, **actnorm(f"{prefix}.norm", shift, log_scale)}


def actnorm(prefix: str, shift: Tensor, log_scale: Tensor) -> State:
    """An ActNorm that has started, its numbers in the shape of channels."""
    return {
        f"{prefix}.shift": shift.reshape(-1, 1, 1),
        f"{prefix}.log_scale": log_scale.reshape(-1, 1, 1),
        f"{prefix}.initialised": torch.ones((), dtype=torch.bool),
    }


def lu(prefix: str, p: Tensor, lower: Tensor, upper: Tensor, sign: Tensor, log_s: Tensor) -> State:
    """A `LuLinear` of the factors of W = P L (U + diag(sign e^log_s)), given as whole matrices."""
    size = len(p)
    below, above = torch.tril_indices(size, size, -1), torch.triu_indices(size, size, 1)
    return {
        f"{prefix}.permutation": p.argmax(0),
        f"{prefix}.sign": sign,
        f"{prefix}.log_diagonal": log_s,
        f"{prefix}.lower": lower[below[0], below[1]],
        f"{prefix}.upper": upper[above[0], above[1]],
    }


def zero_conv(
    prefix: str, weight: Tensor, bias: Tensor, logs: Tensor, rows: Sequence[int] | None = None
) -> State:
    """A `ZeroConv`, its channels in this order."""
    order = torch.arange(len(weight)) if rows is None else torch.tensor(rows)
    return {
        f"{prefix}.weight": weight[order],
        f"{prefix}.bias": bias.flatten()[order],
        f"{prefix}.logs": logs.flatten()[order],
    }


def ones_outside(state: Mapping[str, Tensor], prefix: str) -> State:
    """The border kernel of a convolution that pads every channel with ones."""
    return {f"{prefix}.edge": state[f"{prefix}.weight"].sum(1, keepdim=True)}
