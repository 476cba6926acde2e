"""One transform of nflows as one bijector of ours: its spec and its weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from corekit.errors import CheckpointError
from corekit.nn.activation import Activation
from corekit_realnvp.nflows_nets import Net, State, made, perceptron

AVAILABLE = (
    "Available are affine and rational-quadratic autoregressive and coupling transforms, additive "
    "coupling, permutations, LULinear, NaiveLinear, ActNorm, BatchNorm and PointwiseAffineTransform"
)


@dataclass(frozen=True)
class Settings:
    """What a file does not hold; see `NflowsImporter`."""

    tail_bound: float = 1.0
    min_bin: float = 1e-3
    min_slope: float = 1e-3
    activation: Activation = "relu"
    linear_floor: float = 1e-3
    batch_norm_floor: float = 1e-5


class Found(NamedTuple):
    """A bijector: its spec, its weights, and what else is known of it."""

    spec: dict[str, Any]
    weights: State
    context: int | None = None  # None: it has no network; 0: one without a context
    bins: int = 0
    note: str = ""


def features_of(layer: State) -> int | None:
    """How many features a transform has; None if one number serves for all, or it is unknown."""
    if "autoregressive_net.initial_layer.weight" in layer:
        return layer["autoregressive_net.initial_layer.weight"].shape[1]
    if "transform_features" in layer and "identity_features" in layer:
        return len(layer["identity_features"]) + len(layer["transform_features"])
    own = ("_permutation", "unconstrained_upper_diag", "_weight", "log_scale", "running_mean")
    sizes = [len(layer[key]) for key in own if key in layer and layer[key].ndim]
    if not sizes and "_shift" in layer and "_scale" in layer:
        sizes = [n for n in (layer["_shift"].numel(), layer["_scale"].numel()) if n > 1]
    return sizes[0] if sizes else None


def found(layer: State, place: str, features: int, settings: Settings) -> Found:
    """The bijector of a transform.

    Args:
        layer: Its tensors, by the names that it has for them.
        place: What to call it in an error.
        features: How many features the flow has.
        settings: What the file does not hold.

    Raises:
        CheckpointError: If there is none.
    """
    try:
        return _found(layer, place, features, settings)
    except KeyError as error:
        raise CheckpointError(
            f"{place}: must have the tensor {error.args[0]}, got none of that name. The file is "
            "not whole, or not of nflows 0.14."
        ) from error


def _found(layer: State, place: str, features: int, settings: Settings) -> Found:
    if any(key.startswith("autoregressive_net.") for key in layer):
        return _autoregressive(layer, place, settings)
    if {"transform_features", "identity_features"} <= set(layer):
        return _coupling(layer, place, settings)
    for keys, read in _PLAIN.items():
        if set(keys) == set(layer):
            return read(layer, features, settings)
    raise CheckpointError(
        f"{place}: must be a transform that can be imported, got one with "
        f"{', '.join(sorted(layer)[:4])}. {AVAILABLE}."
    )


def _autoregressive(layer: State, place: str, settings: Settings) -> Found:
    net = made(layer, place, settings.activation)
    rows, features = net.last, net.elements
    outputs = len(rows) // features
    params = rows.unflatten(0, (features, outputs)).transpose(0, 1).clone()
    if outputs == 2:
        univariate: dict[str, Any] = {"type": "affine", "scale": "softplus"}
        params[0, :, -1] -= math.log(math.e - 1)  # ours is shifted, so that zeros are the identity
    else:
        univariate = _spline(outputs, place, settings)
    spec = {"type": "realnvp.autoregressive", "univariate": univariate, "net": net.spec}
    return Found(spec, _named(net, params), net.context, univariate.get("bins", 0))


def _coupling(layer: State, place: str, settings: Settings) -> Found:
    kept, moved = layer["identity_features"].tolist(), layer["transform_features"].tolist()
    if not kept or not moved:
        raise CheckpointError(
            f"{place}: a coupling must keep some features and move some, got {len(kept)} kept and "
            f"{len(moved)} moved."
        )
    net = perceptron(layer, place, len(kept), len(moved), settings.activation)
    outputs = len(net.last) // len(moved)
    if outputs == 1:
        univariate: dict[str, Any] = {"type": "additive"}
        params = net.last[None]
    elif outputs == 2:  # nflows: all shifts, then all scales
        univariate = {"type": "affine", "scale": "sigmoid2", "floor": 1e-3}
        params = net.last.unflatten(0, (2, len(moved))).flip(0)
    else:
        univariate = _spline(outputs, place, settings)
        params = net.last.unflatten(0, (len(moved), outputs)).transpose(0, 1).clone()
        params[: 2 * univariate["bins"]] /= math.sqrt(net.bin_scale)
    spec = {
        "type": "coupling",
        **_split(kept, len(kept) + len(moved)),
        "univariate": univariate,
        "net": net.spec,
    }
    return Found(spec, _named(net, params), net.context, univariate.get("bins", 0))


def _spline(outputs: int, place: str, settings: Settings) -> dict[str, Any]:
    if outputs % 3 != 2:
        raise CheckpointError(
            f"{place}: a map must be additive (1 parameter), affine (2) or a rational-quadratic "
            f"spline with linear tails (3 K - 1), got {outputs} parameters per feature. Other "
            "splines, and splines without tails, cannot be imported."
        )
    return {
        "type": "realnvp.rational_quadratic",
        "bins": (outputs + 1) // 3,
        "bound": settings.tail_bound,
        "min_bin": settings.min_bin,
        "min_slope": settings.min_slope,
        "identity": False,
    }


def _named(net: Net, params: Tensor) -> State:
    """The weights of a network with its last layer, ``(P, elements, inputs + 1)``."""
    rows = params.flatten(0, 1).to(net.dtype)
    last = {f"{net.name}.weight": rows[:, :-1], f"{net.name}.bias": rows[:, -1]}
    return {f"net.{key}": value for key, value in {**net.weights, **last}.items()}


def _split(kept: list[int], features: int) -> dict[str, Any]:
    """What a coupling keeps, by its name if it has one."""
    half = (features + 1) // 2
    everything = list(range(features))
    names: dict[str, tuple[list[int], list[int]]] = {
        "halves": (everything[:half], everything[half:]),
        "interleaved": (everything[::2], everything[1::2]),
    }
    for name, parts in names.items():
        if kept in parts:
            return {"split": name, "swap": kept == parts[1]}
    return {"split": kept}


# -- transforms without a network ---------------------------------------------------------------


def _permute(layer: State, features: int, settings: Settings) -> Found:
    order = layer["_permutation"]
    return Found({"type": "permute", "order": order.tolist()}, {"order": order})


def _lu_linear(layer: State, features: int, settings: Settings) -> Found:
    raw = layer["unconstrained_upper_diag"]
    diagonal = softplus(raw.double()) + settings.linear_floor
    weights = {
        "lower": layer["lower_entries"],
        "upper": layer["upper_entries"],
        "log_diagonal": diagonal.log().to(raw.dtype),
        "bias": layer["bias"],
        "permutation": torch.arange(features),
        "sign": torch.ones_like(raw),
    }
    return Found({"type": "lu_linear", "start": "identity"}, weights)


def _linear(layer: State, features: int, settings: Settings) -> Found:
    return Found({"type": "linear"}, {"weight": layer["_weight"], "bias": layer["bias"]})


def _actnorm(layer: State, features: int, settings: Settings) -> Found:
    log_scale = layer["log_scale"].double()
    return _scaled(log_scale, layer["shift"], layer["initialized"], layer["shift"].dtype)


def _batch_norm(layer: State, features: int, settings: Settings) -> Found:
    raw = layer["unconstrained_weight"]
    wide = {key: value.double() for key, value in layer.items()}
    floor = settings.batch_norm_floor
    weight = softplus(wide["unconstrained_weight"]) + floor
    log_scale = weight.log() - 0.5 * (wide["running_var"] + floor).log()
    shift = wide["bias"] - wide["running_mean"] * log_scale.exp()
    layer_found = _scaled(log_scale, shift, torch.tensor(True), raw.dtype)
    note = "Batch norm is imported as it evaluates: a shift and a scale, which training may change."
    return layer_found._replace(note=note)


def _pointwise(layer: State, features: int, settings: Settings) -> Found:
    scale, shift = (
        layer[key].double().reshape(-1).expand(features) for key in ("_scale", "_shift")
    )
    layer_found = _scaled(scale.log(), shift, torch.tensor(True), layer["_scale"].dtype)
    return layer_found._replace(note="Fixed shifts and scales are imported as trainable ones.")


def _scaled(log_scale: Tensor, shift: Tensor, initialised: Tensor, dtype: torch.dtype) -> Found:
    """Of z = scale x + shift; ours shifts before it scales."""
    weights = {
        "shift": (shift.double() * (-log_scale).exp()).to(dtype),
        "log_scale": log_scale.to(dtype),
        "initialised": initialised.bool(),
    }
    return Found({"type": "actnorm"}, weights)


_PLAIN: dict[tuple[str, ...], Callable[[State, int, Settings], Found]] = {
    ("_permutation",): _permute,
    ("bias", "lower_entries", "upper_entries", "unconstrained_upper_diag"): _lu_linear,
    ("bias", "_weight"): _linear,
    ("initialized", "log_scale", "shift"): _actnorm,
    ("bias", "running_mean", "running_var", "unconstrained_weight"): _batch_norm,
    ("_scale", "_shift"): _pointwise,
}
"""The tensors of a transform -> what reads it."""
