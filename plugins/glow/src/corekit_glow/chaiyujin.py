"""Checkpoints of two torch ports of Glow that name their layers alike."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from corekit.checkpoint.foreign import read_state
from corekit.errors import CheckpointError
from corekit.interfaces.importer import Imported, Importer
from corekit_glow.ports import (
    Found,
    Inputs,
    Labels,
    State,
    actnorm,
    imported,
    lu,
    normed,
    zero_conv,
)

Permutation = Literal["unknown", "reverse"]

_LAYER = re.compile(r"flow\.layers\.(\d+)\.(.+)")
_OURS = {  # how y0ast names what chaiyujin names so
    r"\.block\.(\d)\.conv\.": r".f.\1.",
    r"\.block\.": ".f.",
    r"\.invconv\.lower$": ".invconv.l",
    r"\.invconv\.upper$": ".invconv.u",
    r"\.conv\.conv\.": ".conv.",
    r"^learn_top_fn\.(conv\.)?": "learn_top.",
    r"^(project_\w+)\.linear\.": r"\1.",
}


class ChaiyujinImporter(Importer):
    """Maps checkpoints of chaiyujin/glow-pytorch to a flow.

    Levels, steps, widths, kind of 1x1 convolution and of coupling come from the tensors. The order
    of the channels that leave the networks is changed to ours; what they compute is the same. Our
    data are (level + u) / 256; where the port saw level / 255 the first ActNorm takes on the
    difference.

    Args:
        inputs: What the port saw: to_tensor, level / 255 as torchvision gives it, or centred,
            (level + u) / 256 - 1/2.
        permutation: What a checkpoint without 1x1 convolutions was trained with, as it does not say
            so: reverse. A shuffle is lost with the port's process.
        bits: Of the levels of the data.
        data_path: The folder of pictures that the spec names as data.
        labels: What a flow with a class head is conditioned on, as the checkpoint does not say so:
            class, one of the picture, by its folder; or several labels, each 0 or 1, which a file
            of arrays has beside the pictures, as `labels`.

    Raises:
        CheckpointError: If the file is not such a checkpoint, or does not hold a permutation.

    Source: https://github.com/chaiyujin/glow-pytorch (MIT).
    """

    def __init__(
        self,
        *,
        inputs: Inputs = "to_tensor",
        permutation: Permutation = "unknown",
        bits: int = 8,
        data_path: str = "pictures",
        labels: Labels = "class",
    ) -> None:
        self.inputs, self.bits, self.data_path = inputs, bits, data_path
        self.permutation, self.labels = permutation, labels

    def __call__(self, path: Path) -> Imported:
        """The spec and the weights of a flow."""
        state = read_state(path, within=("graph", "state_dict"))
        found = self.found(state, str(path))
        return imported(found, self.inputs, self.bits, self.data_path, self.labels)

    def found(self, state: Mapping[str, Tensor], name: str) -> Found:
        """The flow under our names."""
        layers: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            match = _LAYER.fullmatch(key)
            if match:
                layers.setdefault(int(match[1]), {})[match[2]] = value
        if not any("f.4.logs" in layer for layer in layers.values()):
            raise CheckpointError(
                f"{name}: must be the state dict of a Glow of this port, got the keys "
                f"{', '.join(list(state)[:4])} ..."
            )
        steps: list[list[State]] = [[]]
        splits: list[State] = []
        for i in sorted(layers):
            if "conv.weight" in layers[i]:
                splits.append(_split(layers[i]))
                steps.append([])
            else:
                steps[-1].append(_step(layers[i], name, self.permutation))
        top, dropped = _top(state)
        head = {
            key.removeprefix("project_class."): value
            for key, value in state.items()
            if key.startswith("project_class.")
        }
        first = next(layer for layer in layers.values() if "f.4.weight" in layer)
        options: dict[str, Any] = {
            "hidden": len(first["f.0.weight"]),
            "mixing": _mixing(first),
            "coupling": "affine" if _affine(first) else "additive",
            "learn_top": "bias" in top,
        }
        notes: tuple[str, ...] = ()
        if head:
            notes = ("The weight of the class loss is not in the checkpoint: it is the default.",)
        return Found(steps, splits, top, options, head, dropped, notes)


class Y0astImporter(ChaiyujinImporter):
    """Maps state dicts of y0ast/Glow-PyTorch to a flow: `ChaiyujinImporter` with other names.

    Args:
        inputs: What the port saw; centred is what its loaders give.
        permutation: As there.
        bits: Of the levels of the data.
        data_path: The folder of pictures that the spec names as data.
        labels: As there.

    Raises:
        CheckpointError: If the file is not such a checkpoint.

    Source: https://github.com/y0ast/Glow-PyTorch (MIT).
    """

    def __init__(
        self,
        *,
        inputs: Inputs = "centred",
        permutation: Permutation = "unknown",
        bits: int = 8,
        data_path: str = "pictures",
        labels: Labels = "class",
    ) -> None:
        super().__init__(
            inputs=inputs,
            permutation=permutation,
            bits=bits,
            data_path=data_path,
            labels=labels,
        )

    def found(self, state: Mapping[str, Tensor], name: str) -> Found:
        """The flow under our names."""
        renamed = {}
        for key, value in state.items():
            for theirs, ours in _OURS.items():
                key = re.sub(theirs, ours, key)
            renamed[key] = value
        return super().found(renamed, name)


def _affine(layer: Mapping[str, Tensor]) -> bool:
    return len(layer["f.4.bias"]) == layer["actnorm.bias"].numel()


def _mixing(layer: Mapping[str, Tensor]) -> str:
    if "invconv.l" in layer:
        return "lu"
    return "plain" if "invconv.weight" in layer else "reverse"


def _step(layer: Mapping[str, Tensor], name: str, permutation: Permutation) -> State:
    if "invconv.l" in layer:
        factors = (layer[f"invconv.{k}"] for k in ("p", "l", "u", "sign_s", "log_s"))
        mixing = lu("1", *factors)
    elif "invconv.weight" in layer:
        mixing = {"1.weight": layer["invconv.weight"]}
    elif permutation == "reverse":
        mixing = {"1.order": torch.arange(layer["actnorm.bias"].numel()).flip(0)}
    else:
        raise CheckpointError(
            f"{name}: each step must have a 1x1 convolution, got one with a fixed permutation, "
            "which this port does not keep in its checkpoints. If it was trained with `reverse`, "
            "say so: --set permutation=reverse."
        )
    channels = len(layer["f.4.bias"])
    # Ours: all raw scales, then all shifts. Theirs: shift and scale of each channel in turn.
    rows = [*range(1, channels, 2), *range(0, channels, 2)] if _affine(layer) else None
    hidden: State = {}
    for place, part in (("first", "f.0"), ("second", "f.2")):
        shift, logs = layer[f"{part}.actnorm.bias"], layer[f"{part}.actnorm.logs"]
        hidden |= normed(f"2.net.{place}", layer[f"{part}.weight"], shift, logs)
    return {
        **actnorm("0", layer["actnorm.bias"], layer["actnorm.logs"]),
        **mixing,
        **hidden,
        **zero_conv("2.net.last", *_zero(layer, "f.4"), rows),
    }


def _split(layer: Mapping[str, Tensor]) -> State:
    channels = len(layer["conv.bias"])
    rows = [*range(0, channels, 2), *range(1, channels, 2)]  # means, then log-deviations
    return zero_conv("net.conv", *_zero(layer, "conv"), rows)


def _zero(layer: Mapping[str, Tensor], part: str) -> tuple[Tensor, Tensor, Tensor]:
    return layer[f"{part}.weight"], layer[f"{part}.bias"], layer[f"{part}.logs"]


def _top(state: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """The prior of the deepest level, and the keys that nothing needs.

    Its convolution sees zeros alone: of it only the bias matters.
    """
    names = {
        "learn_top.bias": "bias",
        "learn_top.logs": "logs",
        "project_ycond.weight": "weight",
        "project_ycond.bias": "context_bias",
        "project_ycond.logs": "context_logs",
    }
    top = {}
    for theirs, ours in names.items():
        if theirs in state:
            top[ours] = state[theirs].flatten() if state[theirs].ndim != 2 else state[theirs]
    unused = ("prior_h", "learn_top.weight")
    return top, tuple(key for key in state if key.startswith(unused))
