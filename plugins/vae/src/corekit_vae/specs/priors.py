"""Specs of priors over latents."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from pydantic import Field

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError
from corekit.spec.base import Spec
from corekit.spec.bases import MixtureFields


class LatentMixtureSpec(MixtureFields):
    """A mixture of Gaussians that starts where the latents are."""

    type: Literal["vae.mixture"] = "vae.mixture"


class VampSpec(Spec):
    """The posteriors of a few made-up inputs, averaged; these inputs are learned."""

    type: Literal["vae.vamp"] = "vae.vamp"
    pseudo_inputs: int = Field(50, ge=1, description="number of made-up inputs")
    start: Literal["data", "random"] = Field("data", description="where they start")
    mean: float = Field(0.5, description="of random ones")
    std: float = Field(0.1, ge=0, description="of random ones")


class UniformSphereSpec(Spec):
    """Every direction alike: uniform on the unit sphere."""

    type: Literal["vae.sphere"] = "vae.sphere"
    support: ClassVar[Support | None] = Support.SPHERE

    def shape(self, event_shape: Shape, condition: Any = None) -> None:
        """A direction needs two numbers."""
        if math.prod(event_shape) < 2:
            raise ShapeError(
                f"{self.type}: the latent must have at least 2 numbers, got shape {event_shape}."
            )


class UniformCategoriesSpec(Spec):
    """Categorical variables, all categories alike, as one-hot codes."""

    type: Literal["vae.categories"] = "vae.categories"
    support: ClassVar[Support | None] = Support.SIMPLEX
    categories: int = Field(10, ge=2, description="of each variable, as of the posterior")

    def shape(self, event_shape: Shape, condition: Any = None) -> None:
        """Whole variables."""
        if event_shape[0] % self.categories:
            raise ShapeError(
                f"{self.type}: categories must divide the first axis of {event_shape}, got "
                f"{self.categories}. Give the posterior's number.",
                path=("categories",),
            )


class AutoregressiveSpec(Spec):
    """A causal transformer that reads codes one after another."""

    type: Literal["vae.autoregressive"] = "vae.autoregressive"
    support: ClassVar[Support | None] = Support.CODES
    levels: int | None = Field(
        None, ge=2, description="number of different codes; the quantizer tells it if null"
    )
    width: int = Field(128, ge=1, description="numbers per position")
    layers: int = Field(4, ge=1, description="blocks of attention and perceptron")
    heads: int = Field(4, ge=1, description="of the attention; they divide the width")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the embedded codes cleared")
