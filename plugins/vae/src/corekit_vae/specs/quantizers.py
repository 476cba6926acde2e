"""Specs of quantizers: from vectors to codes and back."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec.base import Spec


class QuantizerSpec(Spec):
    """What all quantizers share."""

    @property
    @abstractmethod
    def levels(self) -> int:
        """Number of different codes."""

    def shape(self, latent_shape: Shape) -> Shape:
        """The shape of the codes of one example."""
        return latent_shape[1:] or (1,)


class _Codebooks(QuantizerSpec):
    codes: int = Field(512, ge=2, description="vectors in the codebook")
    commitment: float = Field(0.25, ge=0, description="weight that pulls latents to their codes")
    learn: Literal["average", "loss"] = Field(
        "average", description="codes are moving averages of their latents, or move by gradients"
    )
    decay: float = Field(0.99, ge=0, lt=1, description="of the moving averages, per step")
    restart_below: float = Field(
        0.0, ge=0, description="latents per step below which a code starts anew; 0: never"
    )

    @property
    def levels(self) -> int:
        """Number of different codes."""
        return self.codes


class VectorSpec(_Codebooks):
    """The nearest vector of a learned codebook (VQ)."""

    type: Literal["vae.vector"] = "vae.vector"
    start: Literal["data", "uniform"] = Field(
        "data", description="codes start at latents of data, or uniform on [-1/K, 1/K]"
    )


class ResidualSpec(_Codebooks):
    """Each codebook quantizes what the ones before it left (RVQ)."""

    type: Literal["vae.residual"] = "vae.residual"
    codes: int = Field(256, ge=2, description="vectors in each codebook")
    depth: int = Field(4, ge=1, description="codebooks")

    def shape(self, latent_shape: Shape) -> Shape:
        """One code per codebook at each place."""
        return (self.depth, *super().shape(latent_shape))


class FiniteScalarSpec(QuantizerSpec):
    """Every number of a latent is rounded by itself (FSQ)."""

    type: Literal["vae.finite_scalar"] = "vae.finite_scalar"
    values: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (8, 5, 5, 5), min_length=1, description="how many values each number of the latent has"
    )

    @property
    def levels(self) -> int:
        """Number of different codes."""
        return math.prod(self.values)

    def shape(self, latent_shape: Shape) -> Shape:
        """The latent needs a channel for each of the values."""
        if latent_shape[0] != len(self.values):
            raise ShapeError(
                f"vae.finite_scalar: the latent must have {len(self.values)} channels, one for "
                f"each of the values {list(self.values)}, got {latent_shape[0]}. Set "
                "latent_channels of the encoder."
            )
        return super().shape(latent_shape)
