"""Specs of objectives: what a latent model minimises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.spec.base import Spec
from corekit.spec.slots import LossSlot, NetworkSlot, OneOrMany
from corekit_vae.specs.schedules import Scheduled

HOW = "auto: in closed form where there is one; monte_carlo: the entropy of the posterior and one "
HOW += "draw; draw: all of that draw"
KL_WEIGHT = "weight of the KL, a number or a schedule"
WEIGHT = "weight of the distance to the prior, a number or a schedule"
BANDWIDTH = "standard deviation of the prior: the kernel has the width 2 D h^2"
JUDGE = "a perceptron of three hidden layers if null"

Kl = Annotated[Literal["auto", "monte_carlo", "draw"], Field(description=HOW)]
Kernel = Annotated[
    Literal["rbf", "imq", "imq_multi"],
    Field(description="Gaussian, inverse multiquadratic, or seven widths of it"),
]


class ElboSpec(Spec):
    """The evidence lower bound: weighted, annealed, with free bits, or held at a capacity."""

    type: Literal["vae.elbo"] = "vae.elbo"
    kl_weight: Scheduled = Field(1.0, description=KL_WEIGHT)
    kl: Kl = "auto"
    free_bits: float = Field(0.0, ge=0, description="nats of each group that cost nothing")
    groups: int | None = Field(
        1, ge=1, description="of neighbouring elements of the latent; null makes each one a group"
    )
    capacity: Scheduled | None = Field(
        None, description="nats that the KL is held at, a number or a schedule; null for none"
    )
    per_row: bool = Field(
        False, description="free bits and capacity of each row, not of the mean over a minibatch"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.free_bits and self.capacity is not None:
            raise ValueError(
                f"free_bits must be 0 beside a capacity, got {self.free_bits}. Leave one out."
            )
        if self.free_bits and self.groups != 1 and self.kl != "auto":
            raise ValueError(f"kl must be auto where groups have free bits, got {self.kl}.")
        return self


class BetaSpec(Spec):
    """beta-VAE: a heavier KL, or one that is held at a capacity which grows."""

    type: Literal["vae.beta"] = "vae.beta"
    form: Literal["h", "b"] = Field("h", description="beta KL, or gamma |KL - C|")
    beta: Scheduled = Field(4.0, description="of form h, a number or a schedule")
    gamma: Scheduled = Field(1000.0, description="of form b, a number or a schedule")
    max_capacity: float = Field(25.0, ge=0, description="of form b: where C ends, nats")
    capacity_steps: int = Field(100_000, ge=1, description="of form b: steps until C is there")
    kl: Kl = "auto"
    per_row: bool = Field(
        False, description="of form b: the distance of each row, not of the mean over a minibatch"
    )


class BetaTcSpec(Spec):
    """The KL in three parts: mutual information, total correlation, each dimension."""

    type: Literal["vae.beta_tc"] = "vae.beta_tc"
    alpha: Scheduled = Field(1.0, description="of the mutual information, a number or a schedule")
    beta: Scheduled = Field(6.0, description="of the total correlation, a number or a schedule")
    gamma: Scheduled = Field(1.0, description="of the KL of dimensions, a number or a schedule")
    estimator: Literal["stratified", "weighted"] = Field(
        "stratified", description="weights of the examples of a minibatch"
    )
    size: int | None = Field(
        None, ge=1, description="number of training examples; null asks the data", examples=[1000]
    )


class DipSpec(Spec):
    """The covariance of latents over the data is to be the identity."""

    type: Literal["vae.dip"] = "vae.dip"
    form: Literal["i", "ii"] = Field("ii", description="covariance of the means, or of draws")
    diagonal: Scheduled = Field(10.0, description="of (variance - 1)^2, a number or a schedule")
    off_diagonal: Scheduled = Field(10.0, description="of covariance^2, a number or a schedule")
    kl_weight: Scheduled = Field(1.0, description=KL_WEIGHT)
    kl: Kl = "auto"


class FactorSpec(Spec):
    """A total correlation that a judge of latents tells; it has the phase `discriminator`."""

    type: Literal["vae.factor"] = "vae.factor"
    gamma: Scheduled = Field(10.0, description="of the total correlation, a number or a schedule")
    judge: NetworkSlot | None = Field(None, description=JUDGE)
    kl_weight: Scheduled = Field(1.0, description=KL_WEIGHT)
    kl: Kl = "auto"


class InfoSpec(Spec):
    """InfoVAE: less of the KL, and an MMD."""

    type: Literal["vae.info"] = "vae.info"
    alpha: float = Field(0.0, le=1, description="1 leaves the KL out, 0 keeps it: weight 1 - alpha")
    lam: float = Field(10.0, ge=0, description="lambda: the MMD has the weight alpha + lambda - 1")
    kernel: Kernel = "imq"
    bandwidth: float = Field(1.0, gt=0, description=BANDWIDTH)
    kl: Kl = "auto"

    @model_validator(mode="after")
    def _is_no_reward(self) -> Self:
        if self.alpha + self.lam < 1:
            raise ValueError(
                f"alpha + lam must be at least 1, got {self.alpha} + {self.lam}: with a negative "
                "weight training moves away from the prior."
            )
        return self


class MmdSpec(Spec):
    """Wasserstein auto-encoder: draws of the posteriors are to be like draws of the prior."""

    type: Literal["vae.mmd"] = "vae.mmd"
    weight: Scheduled = Field(100.0, description=WEIGHT)
    kernel: Kernel = "imq"
    bandwidth: float = Field(1.0, gt=0, description=BANDWIDTH)
    kl_weight: Scheduled = Field(0.0, description=KL_WEIGHT)
    kl: Kl = "auto"


class SlicedSpec(Spec):
    """The sliced Wasserstein distance to the prior."""

    type: Literal["vae.sliced"] = "vae.sliced"
    weight: Scheduled = Field(100.0, description=WEIGHT)
    projections: int = Field(50, ge=1, description="directions of a minibatch")
    p: Literal[1, 2] = Field(2, description="power of distances")
    kl_weight: Scheduled = Field(0.0, description=KL_WEIGHT)
    kl: Kl = "auto"


class IwaeSpec(Spec):
    """The importance-weighted bound of several draws per row."""

    type: Literal["vae.iwae"] = "vae.iwae"
    samples: int = Field(5, ge=1, description="draws inside the logarithm (K)")
    groups: int = Field(1, ge=1, description="bounds that are averaged (M); above 1 it is MIWAE")
    estimator: Literal["plain", "stl", "dreg"] = Field(
        "plain",
        description="gradient of the encoder: the bound's; less noise, biased beyond one draw; "
        "less noise, unbiased",
    )


class GanSpec(Spec):
    """A judge of data looks at reconstructions; it has the phase `adversary`."""

    type: Literal["vae.gan"] = "vae.gan"
    weight: Scheduled = Field(0.1, description="of being seen through, a number or a schedule")
    judge: NetworkSlot | None = Field(None, description=JUDGE)
    kl_weight: Scheduled = Field(1.0, description=KL_WEIGHT)
    kl: Kl = "auto"


class CombinedSpec(Spec):
    """The first objective, and what the others add to theirs."""

    type: Literal["vae.combined"] = "vae.combined"
    of: Annotated[list[LossSlot], OneOrMany("loss")] = Field(
        min_length=1,
        description="the first says what the KL costs; of the others count their own terms",
        examples=[["vae.elbo", "vae.dip"]],
    )

    @model_validator(mode="after")
    def _the_first_has_the_kl(self) -> Self:
        for number, member in enumerate(self.of[1:], 1):
            for name in ("kl_weight", "kl"):
                field = type(member).model_fields.get(name)
                if field is not None and getattr(member, name) != field.default:
                    raise ValueError(
                        f"of[{number}].{name} must be left out, got {getattr(member, name)}. The "
                        "first member says what the KL costs."
                    )
        return self
