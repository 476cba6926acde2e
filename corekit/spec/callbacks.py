"""Specs of core's callbacks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corekit.spec.base import Spec


class StopWhenSpec(Spec):
    """Stop when a held-out figure has not improved for some evaluations."""

    type: Literal["stop_when"] = "stop_when"
    metric: str = Field("loss", description="name of the figure in the records of held-out data")
    patience: int = Field(5, ge=1, description="evaluations without an improvement")
    min_change: float = Field(0.0, ge=0, description="what counts as an improvement is larger")
    mode: Literal["min", "max"] = Field("min", description="whether lower or higher is better")
