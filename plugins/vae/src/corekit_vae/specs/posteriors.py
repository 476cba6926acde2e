"""Specs of posteriors: which distribution over latents the features of an encoder stand for."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.slots import BijectorSlot


class PosteriorSpec(Spec):
    """What all posteriors share."""

    latent_support: ClassVar[Support | None] = Support.REAL

    def shape(self, feature_shape: Shape, latent_shape: Shape) -> Shape | None:
        """The shape of z: what is asked for, unless the posterior makes another of it."""
        return tuple(latent_shape)


class DiagonalGaussianSpec(PosteriorSpec):
    """A Gaussian whose dimensions are independent, given the data."""

    type: Literal["vae.gaussian"] = "vae.gaussian"
    max_log_var: float | None = Field(
        10.0, gt=0, description="bound on the size of the log-variance, approached softly, or null"
    )


class PointSpec(PosteriorSpec):
    """One latent for each x, without a density: an auto-encoder."""

    type: Literal["vae.point"] = "vae.point"
    activated: bool = Field(False, description="a leaky ReLU on the latent (parity of vae.vq)")


_BOUND = "bound on the size of the log-variance, approached softly, or null"


class FullGaussianSpec(PosteriorSpec):
    """A Gaussian with a full covariance: every latent may lean on every other."""

    type: Literal["vae.full_gaussian"] = "vae.full_gaussian"
    max_log_var: float | None = Field(10.0, gt=0, description=_BOUND)


class LowRankGaussianSpec(PosteriorSpec):
    """A Gaussian with a few directions in which latents vary together."""

    type: Literal["vae.low_rank"] = "vae.low_rank"
    rank: int = Field(4, ge=1, description="number of these directions")
    max_log_var: float | None = Field(10.0, gt=0, description=_BOUND)


class GaussianMixtureSpec(PosteriorSpec):
    """Several Gaussians for each x."""

    type: Literal["vae.mixture"] = "vae.mixture"
    components: int = Field(4, ge=1, description="number of Gaussians")
    max_log_var: float | None = Field(10.0, gt=0, description=_BOUND)


class FlowPosteriorSpec(PosteriorSpec):
    """A Gaussian that a bijector bends, forwards: an autoregressive map is an IAF here."""

    type: Literal["vae.flow"] = "vae.flow"
    latent_support: ClassVar[Support | None] = None  # that of the bijector, known once it is built
    bijector: BijectorSlot = Field(
        description="from the Gaussian's draw to the latent", examples=["linear"]
    )
    context: int = Field(
        0, ge=0, description="numbers of the features that the bijector is told; 0: none"
    )
    max_log_var: float | None = Field(10.0, gt=0, description=_BOUND)

    def shape(self, feature_shape: Shape, latent_shape: Shape) -> Shape | None:
        """What the bijector makes of it."""
        context = (self.context,) if self.context else None
        with place("bijector"):
            made: Shape | None = self.bijector.shape(
                event_shape=tuple(latent_shape), context_shape=context
            )
        return made


class VonMisesFisherSpec(PosteriorSpec):
    """Latents on the unit sphere, around a direction."""

    type: Literal["vae.von_mises_fisher"] = "vae.von_mises_fisher"
    latent_support: ClassVar[Support | None] = Support.SPHERE
    floor: float = Field(1.0, ge=0, description="least concentration")

    def shape(self, feature_shape: Shape, latent_shape: Shape) -> Shape:
        """A direction needs two numbers."""
        if math.prod(latent_shape) < 2:
            raise ShapeError(
                f"{self.type}: the latent must have at least 2 numbers, got shape {latent_shape}."
            )
        return tuple(latent_shape)


class GumbelSpec(PosteriorSpec):
    """Categorical variables, drawn as shares that gradients pass through. No nats."""

    type: Literal["vae.gumbel"] = "vae.gumbel"
    latent_support: ClassVar[Support | None] = Support.SIMPLEX
    categories: int = Field(
        10, ge=2, description="of each variable; the size asked for is the number of variables"
    )
    tau: float = Field(1.0, gt=0, description="temperature at the start")
    tau_min: float = Field(0.5, gt=0, description="least temperature; at most tau")
    rate: float = Field(3e-5, ge=0, description="of the fall: tau exp(-rate i) at optimizer step i")
    hard: bool = Field(False, description="give one-hot codes, with the gradient of the shares")

    @model_validator(mode="after")
    def _check_taus(self) -> GumbelSpec:
        if self.tau_min > self.tau:
            raise ValueError(f"tau_min must be at most tau ({self.tau}), got {self.tau_min}.")
        return self

    def shape(self, feature_shape: Shape, latent_shape: Shape) -> Shape:
        """All categories of all variables, side by side."""
        return (latent_shape[0] * self.categories, *latent_shape[1:])
