"""The whole spec: what to train, on what, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from corekit import __version__
from corekit.spec.base import Section, problem
from corekit.spec.slots import DatasetSlot, MetricSlot, ModelSlot
from corekit.spec.train import TrainSpec


def _known_version(value: Any) -> Any:
    if type(value) is not int or value != 1:
        advice = "Update corekit." if type(value) is int and value > 1 else "Write `version: 1`."
        message = f"must be 1, the version that corekit {__version__} reads, got {value!r}. "
        raise problem("version", message + advice)
    return value


class RunSpec(Section):
    """A run: the content of a spec file."""

    version: Annotated[Literal[1], BeforeValidator(_known_version)] = Field(
        description="version of the format of this file"
    )
    model: ModelSlot = Field(description="what to train")
    data: DatasetSlot = Field(description="on what")
    train: TrainSpec = Field(default_factory=TrainSpec, description="how")
    metrics: list[MetricSlot] = Field(default_factory=list, description="what evaluation measures")
