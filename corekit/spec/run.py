"""The whole spec: what to train, on what, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from corekit import __version__
from corekit.spec.base import Section, problem
from corekit.spec.slots import DatasetSlot, MetricSlot, ModelSlot
from corekit.spec.stages import StageSpec, laid_on
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
    stages: list[StageSpec] = Field(
        default_factory=list,
        description="runs one after another, each of some parts of the model, instead of one run",
    )

    @model_validator(mode="before")
    @classmethod
    def _stages_lie_on_train(cls, value: Any) -> Any:
        stages = value.get("stages") if isinstance(value, Mapping) else None
        if not isinstance(stages, list | tuple):
            return value
        train = value.get("train", {})
        return {**value, "stages": [laid_on(stage, train) for stage in stages]}

    @field_validator("stages")
    @classmethod
    def _names_differ(cls, stages: list[StageSpec]) -> list[StageSpec]:
        names = Counter(stage.name for stage in stages)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"stages must have different names, got {twice[0]!r} twice")
        return stages

    def of_stage(self, stage: StageSpec) -> RunSpec:
        """The spec of the run that a stage is."""
        return self.model_copy(update={"train": stage.train, "stages": []})
