"""From specs to objects: the one place where the registry meets torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from corekit.data_spec import DataSpec, Shape
from corekit.errors import PluginError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.model import GenerativeModel
from corekit.registry import registry
from corekit.spec import RunSpec, Spec, load_spec, run_spec
from corekit.spec.flows import shape_before
from corekit.spec.parts import slot_kind

GIVEN: dict[str, tuple[str, ...]] = {
    "model": ("data",),
    "bijector": ("event_shape", "context_shape"),
    "stochastic": ("data", "context_shape"),
    "network": ("in_shape", "out_shape", "context_shape"),
    "encoder": ("event_shape",),
    "posterior": ("feature_shape", "latent_shape"),
    "likelihood": ("event_shape",),
    "quantizer": ("latent_shape",),
    "prior": ("event_shape", "condition"),
    "decoder": ("event_shape", "latent_shape"),
    "denoiser": ("event_shape", "condition_shapes", "out_channels"),
}
"""What a constructor is given beside its spec. Kinds not listed are given nothing."""


def build(
    spec: RunSpec | Mapping[str, Any] | str | PathLike[str], *, data: DataSpec | None = None
) -> GenerativeModel:
    """The model of a spec, with fresh weights.

    Args:
        spec: A spec, a mapping of the same content, or the path of a spec file.
        data: What the model is a model of; asked of the data set unless given.

    Raises:
        SpecError, ShapeError: If the spec is wrong.
        PluginError: If a component is not installed or cannot be imported.
    """
    if isinstance(spec, (str, PathLike)):
        spec = load_spec(fspath(spec)).spec
    elif not isinstance(spec, RunSpec):
        spec = run_spec(spec)
    if data is None:
        data = spec.data.data_spec() or build_dataset(spec).data_spec
    model: GenerativeModel = component("model", spec.model, data=data)
    if data.mean is not None and data.std is not None:
        model.standardize(data.mean, data.std)
    return model


def build_dataset(spec: RunSpec) -> Dataset:
    """The data set of a spec."""
    dataset: Dataset = component("dataset", spec.data)
    return dataset


def component(kind: str, spec: Spec, **given: Any) -> Any:
    """Build one component.

    Nested components reach the constructor as factories (called with what `GIVEN` lists for their
    kind), or built if their kind is given nothing.

    Raises:
        PluginError: If it cannot be imported, or its constructor does not take its spec.
    """
    found = registry().component(kind, spec.type)
    target = registry().load_target(found)
    arguments = {
        name: _argument(slot_kind(field), getattr(spec, name))
        for name, field in type(spec).model_fields.items()
        if name != "type"
    }
    try:
        return target(**given, **arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise PluginError(
                f"{kind} '{spec.type}': the constructor must take {sorted({*given, *arguments})}, "
                f"got '{error}'. Its spec class and its constructor disagree: a bug of the plugin."
            ) from error
        raise


def _argument(kind: str | None, value: Any) -> Any:
    if kind is None or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_argument(kind, item) for item in value]
    return Factory(kind, value) if kind in GIVEN else component(kind, value)


@dataclass(frozen=True)
class Factory:
    """A function of the given arguments of a kind that builds a component."""

    kind: str
    spec: Spec

    def __call__(self, **given: Any) -> Any:
        """The component, built."""
        return component(self.kind, self.spec, **given)

    def before(self, latent_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """Of a bijector, the event shape of which it makes this one: an `Inverse` asks."""
        return shape_before(self.spec, latent_shape, context_shape)
