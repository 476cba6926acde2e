"""Specs of latent-variable models and their parts in core."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.given import chosen_of, embedded_of, widened, width_of
from corekit.spec.slots import DecoderSlot, EncoderSlot, LossSlot, PriorSlot

Width = Annotated[int, Field(ge=1)]


class GaussianDecoderSpec(Spec):
    """A network that gives the mean of a Gaussian with one standard deviation."""

    type: Literal["gaussian"] = "gaussian"
    hidden: tuple[Width, ...] = Field((256, 256), description="width of each hidden layer")
    scale: float = Field(1.0, gt=0, description="standard deviation, in data units")
    learn_scale: bool = Field(False, description="learn it, starting there")


class WeightedElboSpec(Spec):
    """Reconstruction plus a weighted KL divergence; a bound on the likelihood at weight one."""

    type: Literal["weighted_elbo"] = "weighted_elbo"
    kl_weight: float = Field(1.0, ge=0, description="weight of the KL term (beta)")
    warmup_steps: int = Field(
        0, ge=0, description="optimizer steps over which the weight grows from zero"
    )
    free_bits: float = Field(
        0.0, ge=0, description="KL below which a latent dimension is not pressed further, in nats"
    )
    kl: Literal["auto", "monte_carlo"] = Field(
        "auto", description="auto: in closed form where one is known for posterior and prior"
    )


class LatentModelSpec(Spec):
    """A variational auto-encoder; without a prior, an auto-encoder."""

    type: Literal["latent"] = "latent"
    encoder: EncoderSlot = Field(
        description="from data to the posterior of the latent",
        examples=[{"type": "pointcloud.pointnet", "latent_dim": 256}],
    )
    prior: PriorSlot | None = Field(
        None, description="density of the latent; null makes an auto-encoder"
    )
    decoder: DecoderSlot = Field(
        description="from the latent to data, with a likelihood", examples=["gaussian"]
    )
    loss: LossSlot = Field(default_factory=WeightedElboSpec, description="what training minimises")
    conditional: tuple[Literal["prior", "decoder"], ...] = Field(
        (), description="what is told the conditions of the data; nothing by default"
    )
    classes: int | None = Field(
        None, ge=1, description="number of classes, to tell it the labels among them"
    )
    embed: EncoderSlot | None = Field(
        None,
        description="from the image among them, or else the vector, to the vector that is told",
        examples=[{"type": "pointcloud.pointnet", "latent_dim": 64, "posterior": "point"}],
    )
    drop_condition: float = Field(
        0.0, ge=0, lt=1, description="share of rows that training shows without conditions"
    )
    samples: Literal["drawn", "means"] = Field(
        "drawn", description="drawn from the likelihood, or its means where the decoder has them"
    )

    @model_validator(mode="after")
    def _check_conditional(self) -> LatentModelSpec:
        idle = [n for n in ("classes", "embed", "drop_condition") if getattr(self, n)]
        if idle and not self.conditional:
            raise ValueError(
                f"{idle[0]} must go with something conditional, got none. "
                "Add conditional: [prior], [decoder] or both."
            )
        if "prior" in self.conditional and self.prior is None:
            raise ValueError("conditional must name parts that are there, got prior: null.")
        return self

    def shape(self, data: DataSpec) -> None:
        """The encoder's latent must fit the prior and the decoder."""
        with place("encoder"):
            latent_shape = self.encoder.shape(event_shape=data.event_shape)
        if latent_shape is None:
            return
        latent_shape = beside = tuple(latent_shape)
        told: dict[str, Shape] | None = None
        if self.conditional:
            width = self._width(data)
            told = {"vector": (width,)} if "prior" in self.conditional else None
            beside = widened(beside, width) if "decoder" in self.conditional else beside
        if self.prior is not None:
            with place("prior", given_by="encoder"):
                _check_support(self.encoder, self.prior)
                self.prior.shape(event_shape=latent_shape, condition=told)
        with place("decoder", given_by="encoder"):
            self.decoder.shape(event_shape=data.event_shape, latent_shape=beside)

    def _width(self, data: DataSpec) -> int:
        """Numbers of the vector that conditions become."""
        chosen, embedded = chosen_of(data.condition_shapes, self.classes, self.embed), None
        if self.embed is not None:
            with place("embed"):
                embedded = self.embed.shape(event_shape=chosen[embedded_of(chosen)])
        return width_of(chosen, self.classes, embedded)


def _check_support(encoder: Spec, prior: Spec) -> None:
    """Refuse a prior that lives where no latent is, as far as specs know; the model looks again."""
    lies = getattr(encoder, "latent_support", None)
    lives = getattr(prior, "support", None)
    if lies is not None and lives is not None and lies is not lives:
        raise ShapeError(wrong_support(prior.type, lives, encoder.type, lies))


def wrong_support(prior: str, lives: Support, encoder: str, lies: Support) -> str:
    """The message of that mismatch."""
    return (
        f"{prior} must, as a prior, live where the latents lie ({lies.value}: the posterior of "
        f"{encoder}), got one on '{lives.value}'. A sphere needs vae.von_mises_fisher and "
        "vae.sphere, categories vae.gumbel and vae.categories; others are real."
    )
