"""Checkpoints of rosinality/glow-pytorch."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corekit.checkpoint.foreign import read_state
from corekit.errors import CheckpointError
from corekit.flows.lu_linear import LuLinear
from corekit.interfaces.importer import Imported, Importer
from corekit_glow.ports import Found, State, actnorm, imported, lu, ones_outside, zero_conv

_FLOW = re.compile(r"(?:module\.)?blocks\.(\d+)\.(?:flows\.(\d+)|prior)\.(.+)")


class RosinalityImporter(Importer):
    """Maps checkpoints of rosinality/glow-pytorch to a flow.

    Its networks have biases in place of ActNorm and pad the last convolution with ones; scales of
    its ActNorm may be negative, which the convolution behind takes on.

    Args:
        bits: Of the levels of the data; the port trains with 5.
        data_path: The folder of pictures that the spec names as data.

    Raises:
        CheckpointError: If the file is not such a checkpoint.

    Source: https://github.com/rosinality/glow-pytorch (MIT).
    """

    def __init__(self, *, bits: int = 5, data_path: str = "pictures") -> None:
        self.bits, self.data_path = bits, data_path

    def __call__(self, path: Path) -> Imported:
        """The spec and the weights of a flow."""
        found = self.found(read_state(path), str(path))
        return imported(found, "centred", self.bits, self.data_path)

    def found(self, state: Mapping[str, Tensor], name: str) -> Found:
        """The flow under our names."""
        flows: dict[tuple[int, int], dict[str, Tensor]] = {}
        priors: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            match = _FLOW.fullmatch(key)
            if match is None:
                raise CheckpointError(
                    f"{name}: must be the state dict of a Glow of this port, got the key {key}."
                )
            level, step, rest = match.groups()
            place = priors if step is None else flows
            at: Any = int(level) if step is None else (int(level), int(step))
            place.setdefault(at, {})[rest] = value
        if not flows:
            raise CheckpointError(f"{name}: must hold a Glow of this port, got no tensor.")
        levels = max(level for level, _ in flows) + 1
        # One kind of 1x1 convolution in all: with no_lu the last block of the port has LU factors.
        factored = all("invconv.w_l" in layer for layer in flows.values())
        steps = [
            [_step(flows[at], lu_form=factored) for at in sorted(flows) if at[0] == level]
            for level in range(levels)
        ]
        splits = [_prior(priors[level], "net.conv") for level in range(levels - 1)]
        top = {k.removeprefix("top."): v for k, v in _prior(priors[levels - 1], "top").items()}
        top.pop("weight")
        first = flows[0, 0]
        channels = first["actnorm.loc"].numel()
        options = {
            "hidden": len(first["coupling.net.0.weight"]),
            "mixing": "lu" if factored else "plain",
            "coupling": "affine" if len(_last(first)[0]) == channels else "additive",
            "actnorm_in_net": False,
            "edge_bias": "last",
        }
        return Found(steps, splits, top, options)


def _step(layer: Mapping[str, Tensor], *, lu_form: bool) -> State:
    scale = layer["actnorm.scale"].flatten()
    sign = scale.sign()
    factors = None
    if "invconv.w_l" in layer:
        masked = layer["invconv.w_l"] * layer["invconv.l_mask"]
        factors = (
            layer["invconv.w_p"],
            masked,
            layer["invconv.w_u"] * layer["invconv.u_mask"],
            layer["invconv.s_sign"],
            layer["invconv.w_s"],
        )
    if lu_form and factors is not None and bool((sign > 0).all()):
        mixing = lu("1", *factors)
    else:
        weight = _matrix(layer, factors) * sign  # columns: it sees what ActNorm turned round
        mixing = _of_matrix(weight) if lu_form else {"1.weight": weight}
    last = zero_conv("2.net.last", *_last(layer))
    return {
        **actnorm("0", layer["actnorm.loc"], scale.abs().log()),
        **mixing,
        "2.net.first.weight": layer["coupling.net.0.weight"],
        "2.net.first.bias": layer["coupling.net.0.bias"],
        "2.net.second.weight": layer["coupling.net.2.weight"],
        "2.net.second.bias": layer["coupling.net.2.bias"],
        **last,
        **ones_outside(last, "2.net.last"),
    }


def _last(layer: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    conv = "coupling.net.4.conv"
    return layer[f"{conv}.weight"], layer[f"{conv}.bias"], layer["coupling.net.4.scale"]


def _prior(layer: Mapping[str, Tensor], prefix: str) -> State:
    found = zero_conv(prefix, layer["conv.weight"], layer["conv.bias"], layer["scale"])
    return {**found, **ones_outside(found, prefix)}


def _matrix(layer: Mapping[str, Tensor], factors: tuple[Tensor, ...] | None) -> Tensor:
    if factors is None:
        return layer["invconv.weight"].flatten(1)
    p, lower, upper, sign, log_s = factors
    one = torch.eye(len(p), dtype=p.dtype)
    return p @ (lower + one) @ (upper + (sign * log_s.exp()).diag())


def _of_matrix(weight: Tensor) -> State:
    """The factors of a matrix."""
    layer = LuLinear((len(weight),), bias=False).to(weight.dtype)
    layer.set_matrix(weight)
    return {f"1.{k}": v.detach() for k, v in layer.state_dict().items()}
