"""A spec to start from: parts that are installed, and fit each other and the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from corekit.errors import PluginError, SpecError
from corekit.registry import registry
from corekit.registry.declaration import FIRST_PARTY
from corekit.spec import describe
from corekit.spec.check import check_spec
from corekit.spec.dump import dump_value
from corekit.spec.load import run_spec
from corekit.spec.merge import apply_set
from corekit.spec.slots import Slot, spec_class
from corekit.spec.yaml12 import parse

Block = dict[str, Any]

# What each kind starts with, the best first. What is not installed is passed over; then comes
# whatever else is.
STARTS: dict[str, list[Any]] = {
    "model": ["flow", "diffusion", {"type": "latent", "prior": "normal"}],
    "dataset": ["toy2d", "shapes3d"],
    "bijector": [
        {"type": "repeat", "times": 8, "of": ["realnvp.affine_coupling", "linear"]},
        {"type": "repeat", "times": 4, "of": ["coupling", {"type": "coupling", "swap": True}]},
        {"type": "repeat", "times": 4, "of": "linear"},
    ],
    "encoder": [{"type": "pointcloud.pointnet", "latent_dim": 32}],
    "decoder": ["diffusion", "gaussian"],
    "denoiser": ["pointcloud.pointwise", "ddpm.mlp", "ddpm.unet"],
    "noise_schedule": [
        {"type": "ddpm.linear", "steps": 200, "beta_start": 1e-4, "beta_end": 0.05},
        "pointcloud.variance_schedule",
    ],
    "denoising_loss": ["ddpm.mse"],
}
_TRAIN = {"steps": 2000, "batch_size": 64}
_TRIES = 300  # combinations of parts


def start(model: str, data: str | None = None, sets: Sequence[str] = ()) -> Block:
    """A spec of this model, as plain data: the first combination of parts that is valid.

    Args:
        model: name of the model
        data: name of the data set; one that fits is chosen unless given
        sets: `path=value` arguments that the spec must agree with

    Raises:
        PluginError: the model or the data set is not there, or what they need is not installed
        SpecError: no combination is valid; says why the first one is not
        UsageError: a `path=value` leads nowhere
    """
    models = _completed("model", _begun("model", model), ())
    found = _candidates("dataset") if data is None else _completed("dataset", {"type": data}, ())
    if data is not None:
        spec_class("dataset", data)
    datasets = list(found)
    first: SpecError | None = None
    for chosen, on in islice(((m, d) for m in models for d in datasets), _TRIES):
        block: Block = {"version": 1, "model": _whole(chosen), "data": _whole(on), "train": _TRAIN}
        try:
            block = _overruled(block, sets)
            check_spec(run_spec(block))
        except SpecError as error:
            if any(problem.code != "data" for problem in error.problems):
                first = first or error
                continue  # while a data file of the user's need not be there yet
        return block
    raise first or _nothing(model)


def _begun(kind: str, name: str) -> Block:
    """What is written for a component that was asked for by name.

    Raises:
        PluginError: there is none
    """
    spec_class(kind, name)
    starts = [_whole(item) for item in STARTS.get(kind, ())]
    return next((item for item in starts if item["type"] == name), {"type": name})


def _candidates(kind: str, above: tuple[str, ...] = ()) -> Iterator[Block | str]:
    """Every way to fill a slot, the best first; `above` are the kinds that it is inside of."""
    starts = [_whole(item) for item in STARTS.get(kind, ())]
    known = {item["type"] for item in starts}
    others = [{"type": name} for name in registry().names(kind) if name not in known]
    for item in [*starts, *others]:
        yield from _completed(kind, item, above)


def _completed(kind: str, begun: Block, above: tuple[str, ...]) -> Iterator[Block | str]:
    """A component with every required field filled in, in every way that is valid on its own."""
    try:
        spec = spec_class(kind, begun["type"])
    except PluginError:
        return
    smallest = describe.example(spec)
    missing = [name for name in smallest if name not in begun]
    ways: list[list[Any]] = []
    for name in missing:
        inner = _slot(spec.model_fields[name])
        if inner is None or inner in (*above, kind):  # a chain of chains of chains
            ways.append([smallest[name]])
        else:
            ways.append(list(_candidates(inner, (*above, kind))))
    for values in product(*ways):
        block = {**begun, **dict(zip(missing, values, strict=True))}
        try:
            spec.model_validate(block)
        except ValidationError:
            continue
        yield block if len(block) > 1 else str(block["type"])


def _slot(field: FieldInfo) -> str | None:
    """The kind of the one component that a field holds; None for lists and plain values."""
    return next((entry.kind for entry in field.metadata if isinstance(entry, Slot)), None)


def _whole(block: Block | str) -> Block:
    return {"type": block} if isinstance(block, str) else block


def _overruled(block: Mapping[str, Any], sets: Sequence[str]) -> Block:
    tree, _ = parse(dump_value(block), "the spec")
    for number, argument in enumerate(sets, start=1):
        tree = apply_set(tree, argument, number) if tree is not None else None
    plain: Block = tree.plain() if tree is not None else {}
    return plain


def _nothing(model: str) -> PluginError:
    """Which kinds the model needs and none is installed of; packages that have them."""
    spec = spec_class("model", model)
    needed = [_slot(field) for field in spec.model_fields.values() if field.is_required()]
    lacking = [kind for kind in needed if kind and next(_candidates(kind), None) is None]
    names = [item["type"] for kind in lacking for item in map(_whole, STARTS.get(kind, ()))]
    known = dict.fromkeys(FIRST_PARTY.get(name.partition(".")[0]) for name in names)
    packages = " ".join(package for package in known if package)
    advice = f" Install some: pip install {packages}." if packages else ""
    return PluginError(
        f"new-spec: the model {model!r} must have one component of each kind that it needs, got"
        f" none of the kind {', '.join(lacking)}.{advice}"
    )
