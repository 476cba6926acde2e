"""Specs of core's metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corekit.spec.base import Spec


class BitsPerDimSpec(Spec):
    """Bits per dimension of held-out data."""

    type: Literal["bits_per_dim"] = "bits_per_dim"


class _OnFeatures(Spec):
    features: str | None = Field(
        None, description="file of a network, .pt2 or TorchScript .pt; the data as they are if null"
    )


class FidSpec(_OnFeatures):
    """Fréchet and kernel distance, precision and recall over the features of a network."""

    type: Literal["fid"] = "fid"
    data_range: tuple[float, float] = Field(
        (-1.0, 1.0), description="what black and white are in the data"
    )
    network_range: tuple[float, float] = Field(
        (-1.0, 1.0), description="what they are for the network"
    )
    resize: int | None = Field(None, ge=1, description="height and width that the network wants")
    neighbours: int = Field(3, ge=1, description="of precision and recall")
    batch: int = Field(64, ge=1, description="examples at once")


class NearestTrainingSpec(_OnFeatures):
    """How near samples lie to training examples, beside held-out data."""

    type: Literal["nearest_training"] = "nearest_training"
    batch: int = Field(256, ge=1, description="samples at once")
