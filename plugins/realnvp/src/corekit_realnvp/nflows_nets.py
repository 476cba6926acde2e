"""Networks of nflows as networks of ours, but for the order of the rows of their last layer."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from corekit.errors import CheckpointError
from corekit.nn.activation import Activation
from corekit_realnvp.masks import hidden_degrees

State = dict[str, Tensor]
"""Tensors by name."""


class Net(NamedTuple):
    """A network: its spec and its weights without the last layer.

    Attributes:
        spec: What builds it.
        weights: All but the last layer.
        last: Weights beside biases of the last layer as nflows has its rows, float64,
            ``(rows, inputs + 1)``.
        name: Of the last layer.
        dtype: Of the weights.
        elements: How many elements it makes parameters for.
        context: Width of its context, 0 for none.
        bin_scale: nflows divides raw widths and heights of bins by the root of this.
    """

    spec: dict[str, Any]
    weights: State
    last: Tensor
    name: str
    dtype: torch.dtype
    elements: int
    context: int
    bin_scale: int = 1


def numbered(state: Mapping[str, Tensor], prefix: str) -> dict[int, State]:
    """The members of a list by their numbers: of ``blocks.``, of ``_transforms.``."""
    members: dict[int, State] = {}
    for key, value in state.items():
        number, _, rest = key.removeprefix(prefix).partition(".")
        if key.startswith(prefix) and number.isdigit():
            members.setdefault(int(number), {})[rest] = value
    return members


def made(layer: State, place: str, activation: Activation) -> Net:
    """The network of an autoregressive transform.

    Raises:
        CheckpointError: If its masks are random, or it has no blocks or more than weights.
    """
    net = _inside(layer, "autoregressive_net.", place, ())
    _only(net, _MADE, place)
    hidden, features = net["initial_layer.weight"].shape
    blocks = [member for _, member in sorted(numbered(net, "blocks.").items())]
    if not blocks:
        raise CheckpointError(
            f"{place}: an autoregressive network must have at least one block, got none: the file "
            "does not say whether it is residual."
        )
    want = hidden_degrees(features, hidden)
    for key, degrees in net.items():
        if key.endswith("degrees") and key != "final_layer.degrees" and degrees.tolist() != want:
            raise CheckpointError(
                f"{place}: hidden units must see 1, 2, 3 ... features in turn, got random masks "
                f"in {key}. Build it with realnvp.made and train it again."
            )
    rows = torch.tensor(want).sort(stable=True).indices
    residual = "linear_layers.0.weight" in blocks[0]
    chain = ["initial_layer"]
    for i in range(len(blocks)):
        inside = ("linear_layers.0", "linear_layers.1") if residual else ("linear",)
        chain += [f"blocks.{i}.{name}" for name in inside]
    weights: State = {"rank": torch.arange(features)}
    for i, name in enumerate(chain):
        weight = net[f"{name}.weight"][rows]
        weights[f"layers.{i}.weight"] = weight[:, rows] if i else weight
        weights[f"layers.{i}.bias"] = net[f"{name}.bias"][rows]
    context = _contexts(net, rows, weights) if "context_layer.weight" in net else 0
    spec: dict[str, Any] = {
        "type": "realnvp.made",
        "hidden": [hidden] if residual else [hidden] * len(chain),
        "blocks": len(blocks) if residual else 0,
        "activation": activation,
    }
    if context:
        spec |= {"first_sees_context": False, "activate_context": True}
    last = _beside(net, "final_layer")[:, [*rows.tolist(), -1]]
    name, dtype = f"layers.{len(chain)}", net["initial_layer.weight"].dtype
    return Net(spec, weights, last, name, dtype, features, context)


def _contexts(net: State, rows: Tensor, weights: State) -> int:
    """Add the weights of a context; returns its width."""
    first = net["context_layer.weight"]
    weights["context.weight"] = first[rows]
    weights["context.bias"] = net["context_layer.bias"][rows]
    for i, block in sorted(numbered(net, "blocks.").items()):
        if "context_layer.weight" in block:
            weights[f"block_contexts.{i}.weight"] = block["context_layer.weight"][rows]
            # Its bias is one more of the layer that it adds to.
            key = f"layers.{1 + 2 * i}.bias"
            weights[key] = weights[key] + block["context_layer.bias"][rows]
    return first.shape[1]


def perceptron(layer: State, place: str, kept: int, moved: int, activation: Activation) -> Net:
    """The network of a coupling: a ResidualNet, or an MLP.

    Raises:
        CheckpointError: If it is another one, or has more than weights.
    """
    features = ("identity_features", "transform_features")
    net = _inside(layer, "transform_net.", place, features)
    if "_input_layer.weight" in net:
        return _mlp(net, place, kept, moved, activation)
    if "initial_layer.weight" not in net or net["initial_layer.weight"].ndim != 2:
        raise CheckpointError(
            f"{place}: the network of a coupling must be a ResidualNet or an MLP, got one with "
            f"{', '.join(sorted(net)[:4])}."
        )
    _only(net, _RESIDUAL_NET, place)
    first = net["initial_layer.weight"]
    blocks = numbered(net, "blocks.")
    weights = {f"first.{field}": net[f"initial_layer.{field}"] for field in ("weight", "bias")}
    for i, block in blocks.items():
        for name, value in block.items():
            ours = name.replace("linear_layers.", "layers.").replace("context_layer.", "gate.")
            weights[f"blocks.{i}.{ours}"] = value
    spec = {
        "type": "realnvp.residual_mlp",
        "hidden": len(first),
        "blocks": len(blocks),
        "activation": activation,
    }
    last, context = _beside(net, "final_layer"), first.shape[1] - kept
    return Net(spec, weights, last, "last", first.dtype, moved, context, bin_scale=len(first))


def _mlp(net: State, place: str, kept: int, moved: int, activation: Activation) -> Net:
    _only(net, _MLP, place)
    names = [
        "_input_layer",
        *(f"_hidden_layers.{i}" for i in sorted(numbered(net, "_hidden_layers."))),
    ]
    first = net["_input_layer.weight"]
    weights = {
        f"layers.{2 * i}.{field}": net[f"{name}.{field}"]
        for i, name in enumerate(names)
        for field in ("weight", "bias")
    }
    hidden = [len(net[f"{name}.weight"]) for name in names]
    spec = {"type": "mlp", "hidden": hidden, "activation": activation}
    last, context = _beside(net, "_output_layer"), first.shape[1] - kept
    return Net(spec, weights, last, f"layers.{2 * len(names)}", first.dtype, moved, context)


def _inside(layer: State, prefix: str, place: str, beside: tuple[str, ...]) -> State:
    """The tensors of a network; there must be no others but those named."""
    other = [key for key in layer if not key.startswith(prefix) and key not in beside]
    if other:
        raise CheckpointError(
            f"{place}: a transform must have no parameters beside its network, got {other[0]}. An "
            "unconditional transform cannot be imported."
        )
    return {k.removeprefix(prefix): v for k, v in layer.items() if k.startswith(prefix)}


def _only(net: State, known: re.Pattern[str], place: str) -> None:
    """Refuse a network with tensors that are not known."""
    other = [key for key in net if not known.fullmatch(key)]
    if other:
        raise CheckpointError(
            f"{place}: a network must have linear layers alone, got {other[0]}. Batch norm inside "
            "networks cannot be imported."
        )


def _beside(net: State, name: str) -> Tensor:
    """The weights of a layer and its biases as one more column, float64."""
    return torch.cat((net[f"{name}.weight"], net[f"{name}.bias"][:, None]), dim=1).double()


_LINEAR = r"(weight|bias)"
_MADE = re.compile(
    rf"(initial_layer|final_layer|blocks\.\d+\.(linear|linear_layers\.[01]))\.({_LINEAR}|mask|degrees)"
    rf"|(blocks\.\d+\.)?context_layer\.{_LINEAR}"
)
_RESIDUAL_NET = re.compile(
    rf"(initial_layer|final_layer|blocks\.\d+\.(linear_layers\.[01]|context_layer))\.{_LINEAR}"
)
_MLP = re.compile(rf"(_input_layer|_output_layer|_hidden_layers\.\d+)\.{_LINEAR}")
