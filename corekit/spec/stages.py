"""The section `stages` of a spec: runs on one model, one after another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from corekit.spec.base import Section
from corekit.spec.merge import merge_plain
from corekit.spec.train import TrainSpec

_SHORT = ("parts", "cache")  # keys of a stage that stand for keys of its `train`


class StageSpec(Section):
    """A run of its own that trains some parts of the model, from the weights of the one before."""

    name: str = Field(
        description="what it is called, also in its folder `stages/NUMBER-NAME`",
        examples=["autoencoder"],
    )
    parts: list[str] | None = Field(None, description="short for `train.parts`")
    cache: bool | None = Field(None, description="short for `train.cache`")
    train: TrainSpec = Field(
        default_factory=TrainSpec,
        description="what differs from the section `train` of the spec",
    )

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
            raise ValueError(f"must be letters, digits, '-', '_' and '.', got {name!r}")
        return name

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        for key in _SHORT:
            short, whole = getattr(self, key), getattr(self.train, key)
            if short not in (None, whole):
                raise ValueError(
                    f"`{key}` must be written once, got {short} and, in `train`, {whole}"
                )
        return self


def laid_on(stage: Any, train: Any) -> Any:
    """A stage as it is written, with a whole section `train`: its own laid on that of the spec.

    What is not a mapping stays as it is, for the validation to refuse.
    """
    if isinstance(stage, StageSpec):
        stage = {
            "name": stage.name,
            "train": stage.train,
            **stage.model_dump(include=set(_SHORT), exclude_none=True),
        }
    if not isinstance(stage, Mapping):
        return stage
    own = stage.get("train", {})
    if not isinstance(own, Mapping | TrainSpec):
        return stage
    short = {key: stage[key] for key in _SHORT if stage.get(key) is not None}
    return {**stage, "train": merge_plain(merge_plain(_right(train), short), own)}


def _right(train: Any) -> Any:
    """What is right of a section `train`: its mistakes are told once, not at each stage."""
    if not isinstance(train, Mapping):
        return train if isinstance(train, TrainSpec) else {}
    try:
        TrainSpec.model_validate(train)
    except ValidationError as error:
        wrong = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
        return {key: value for key, value in train.items() if key not in wrong}
    return train
