"""Flows of zuko: MAF, NSF, NICE and RealNVP."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corekit.checkpoint.foreign import read_state
from corekit.errors import CheckpointError
from corekit.interfaces.importer import Imported, Importer
from corekit.nn.activation import Activation

_ROOT = "transform.transforms."


class ZukoImporter(Importer):
    """Maps the state dict of ``zuko.flows.MAF``, ``NSF``, ``NICE`` and ``RealNVP`` to a flow.

    The kind of each layer, its order or mask, widths and bins come from the tensors. Hidden units
    are sorted by how many features they see, as ours are; what they compute is the same.

    Args:
        activation: Of the networks; zuko's default is relu.
        slope: Smallest slope of a map; zuko's default is 0.001.
        data_path: The ``.npy`` or ``.npz`` file that the spec names as data.

    Raises:
        CheckpointError: If the file is not such a state dict, or a flow has another base.

    Source: zuko, https://github.com/probabilists/zuko (MIT).
    """

    def __init__(
        self,
        *,
        activation: Activation = "relu",
        slope: float = 1e-3,
        data_path: str = "data/train.npy",
    ) -> None:
        self.activation, self.slope, self.data_path = activation, slope, data_path

    def __call__(self, path: Path) -> Imported:
        """The spec and the weights of a flow."""
        state = read_state(path)
        layers = _layers(state, path)
        members: list[dict[str, Any]] = []
        weights: dict[str, Tensor] = {}
        used = {"base.loc", "base.scale"}
        for i, layer in enumerate(layers):
            member, own = self._coupling(layer) if "mask" in layer else self._masked(layer, path)
            members.append(member)
            weights |= {f"density.bijector.members.{i}.net.{k}": v for k, v in own.items()}
            used |= {f"{_ROOT}{i}.{key}" for key in layer}
        features = len(state["base.loc"])
        spec = {
            "version": 1,
            "model": {"type": "flow", "bijector": {"type": "chain", "of": members}},
            "data": {"type": "arrays", "path": self.data_path},
        }
        notes = (f"{len(members)} layers over {features} features; data are the file's, as is.",)
        return Imported(spec, weights, tuple(k for k in state if k not in used), notes)

    def _masked(
        self, layer: Mapping[str, Tensor], path: Path
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """An autoregressive layer, or a coupling that zuko writes as one."""
        if "order" not in layer:
            raise CheckpointError(
                f"{path}: a masked layer must have an order, got one of an adjacency. Build it "
                "with realnvp.made and copy the weights."
            )
        rank = layer["order"]
        features, linear = len(rank), _linear(layer)
        context = linear[0][0].shape[1] - features
        if context:
            raise CheckpointError(
                f"{path}: a flow must have no context to be imported as a model of data, got "
                f"{context} context features."
            )
        per_feature = len(linear[-1][1]) // features
        net: dict[str, Any] = {
            "type": "realnvp.made",
            "hidden": [len(bias) for _, bias in linear[:-1]],
            "activation": self.activation,
        }
        if len(rank.unique()) == features:
            net["order"] = rank.tolist()
            weights = _sorted(linear, [layer[k] for k in layer if k.endswith(".mask")], features)
        else:
            net["adjacency"] = (rank[:, None] > rank[None, :]).int().tolist()
            weights = linear
        univariate, places = self._univariate(per_feature)
        own = _ours(weights, features, places)
        own["rank"] = rank.clone()
        layer_spec = {"type": "realnvp.autoregressive", "univariate": univariate, "net": net}
        return layer_spec, own

    def _coupling(self, layer: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """A coupling with a checkered mask; true is kept."""
        mask = layer["mask"].bool()
        kept = torch.arange(len(mask)) % 2 == 0
        if not (torch.equal(mask, kept) or torch.equal(mask, ~kept)):
            raise CheckpointError(
                f"ZukoImporter: a coupling must have a checkered mask, got {mask.int().tolist()}."
            )
        linear, moved = _linear(layer), int((~mask).sum())
        univariate, places = self._univariate(len(linear[-1][1]) // moved)
        net = {
            "type": "mlp",
            "hidden": [len(bias) for _, bias in linear[:-1]],
            "activation": self.activation,
        }
        spec = {
            "type": "coupling",
            "split": "interleaved",
            "swap": bool(torch.equal(mask, ~kept)),
            "univariate": univariate,
            "net": net,
        }
        plain = _ours(linear, moved, places)  # a perceptron has activations between its layers
        return spec, {
            f"layers.{2 * int(number)}.{field}": value
            for key, value in plain.items()
            for _, number, field in [key.split(".")]
        }

    def _univariate(self, per_feature: int) -> tuple[dict[str, Any], list[int]]:
        """The map of one number, and where zuko has each of our parameters."""
        if per_feature == 2:  # zuko: shift, then scale
            bound = -math.log(self.slope)
            return {"type": "affine", "scale": "softclip", "max_log_scale": bound}, [1, 0]
        spec = {
            "type": "realnvp.rational_quadratic",
            "bins": (per_feature + 1) // 3,
            "parameters": "softclip",
            "min_slope": self.slope,
        }
        return spec, list(range(per_feature))


Linear = list[tuple[Tensor, Tensor]]


def _layers(state: Mapping[str, Tensor], path: Path) -> list[dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        number, _, rest = key.removeprefix(_ROOT).partition(".")
        if key.startswith(_ROOT) and number.isdigit():
            found.setdefault(int(number), {})[rest] = value
    layers = [found[i] for i in sorted(found)]
    loc, scale = state.get("base.loc"), state.get("base.scale")
    if not layers or loc is None or scale is None:
        raise CheckpointError(
            f"{path}: must be the state dict of a zuko flow, got the keys "
            f"{', '.join(list(state)[:4])} ..."
        )
    if any("hyper.0.weight" not in layer for layer in layers):
        raise CheckpointError(f"{path}: a layer must be masked or a coupling, got another kind.")
    if bool((loc != 0).any()) or bool((scale != 1).any()):
        raise CheckpointError(f"{path}: the base must be standard normal, got another.")
    return layers


def _linear(layer: Mapping[str, Tensor]) -> Linear:
    """(weight, bias) of each linear layer of its network."""
    numbers = sorted(int(k.split(".")[1]) for k in layer if k.endswith("weight"))
    return [(layer[f"hyper.{i}.weight"], layer[f"hyper.{i}.bias"]) for i in numbers]


def _sorted(linear: Linear, masks: list[Tensor], features: int) -> Linear:
    """The same network with its hidden units in the order of how many features they see."""
    sees, columns = torch.eye(features), torch.arange(features)
    found: Linear = []
    for (weight, bias), mask in zip(linear[:-1], masks, strict=False):
        sees = ((mask.float() @ sees) > 0).float()
        rows = sees.sum(1).sort(stable=True).indices
        found.append((weight[rows][:, columns], bias[rows]))
        columns = rows
    weight, bias = linear[-1]
    return [*found, (weight[:, columns], bias)]


def _ours(linear: Linear, elements: int, places: list[int]) -> dict[str, Tensor]:
    """Names and layout of ours: the last rows go parameter by parameter, not element by element."""
    weight, bias = linear[-1]
    rows = torch.tensor([i * len(places) + p for p in places for i in range(elements)])
    named = [*linear[:-1], (weight[rows], bias[rows])]
    return {
        f"layers.{i}.{field}": value.clone()
        for i, pair in enumerate(named)
        for field, value in zip(("weight", "bias"), pair, strict=True)
    }
