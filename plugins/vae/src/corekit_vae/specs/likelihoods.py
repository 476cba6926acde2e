"""Specs of likelihoods: the distribution of data, given what a decoder's network says."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.spec.base import Spec


class LikelihoodSpec(Spec):
    """What all likelihoods share."""

    def parameter_shape(self, event_shape: Shape) -> Shape:
        """What a network must give."""
        return event_shape


class BernoulliSpec(LikelihoodSpec):
    """Black or white, each pixel on its own; the network gives logits."""

    type: Literal["vae.bernoulli"] = "vae.bernoulli"
    gray: bool = Field(False, description="take values between 0 and 1: cross-entropy, no nats")


class ContinuousBernoulliSpec(LikelihoodSpec):
    """A density on [0, 1] of one parameter; the network gives logits."""

    type: Literal["vae.continuous_bernoulli"] = "vae.continuous_bernoulli"


class GaussianSpec(LikelihoodSpec):
    """A Gaussian whose mean the network gives, and perhaps its scale."""

    type: Literal["vae.gaussian"] = "vae.gaussian"
    scale: float = Field(
        1.0, gt=0, description="standard deviation, or where it starts; data units"
    )
    variance: Literal["fixed", "learned", "optimal", "network"] = Field(
        "fixed",
        description="learned: one number that gradients move; optimal: the mean squared error of "
        "the batch in training; network: one of each element",
    )
    floor: float = Field(1e-3, gt=0, description="least standard deviation; data units")

    def parameter_shape(self, event_shape: Shape) -> Shape:
        """Twice the channels where the network gives scales, too."""
        return _times(2 if self.variance == "network" else 1, event_shape)


class LaplaceSpec(LikelihoodSpec):
    """A Laplace distribution: absolute errors."""

    type: Literal["vae.laplace"] = "vae.laplace"
    scale: float = Field(1.0, gt=0, description="mean absolute deviation b; data units")
    learn_scale: bool = Field(False, description="learn it, starting there")


class DiscretizedLogisticSpec(LikelihoodSpec):
    """Probabilities of levels: a mixture of logistic distributions over their bins."""

    type: Literal["vae.discretized_logistic"] = "vae.discretized_logistic"
    components: int = Field(5, ge=1, description="logistic distributions in the mixture")
    levels: int = Field(256, ge=2, description="of the data")

    def parameter_shape(self, event_shape: Shape) -> Shape:
        """A weight, a location and a scale of each component."""
        return _times(3 * self.components, event_shape)


class CategoricalSpec(LikelihoodSpec):
    """A probability for each level of each element, without an order."""

    type: Literal["vae.categorical"] = "vae.categorical"
    levels: int = Field(256, ge=2, description="of the data")

    def parameter_shape(self, event_shape: Shape) -> Shape:
        """A logit of each level."""
        return _times(self.levels, event_shape)


class LogCoshSpec(LikelihoodSpec):
    """log cosh of the error: square where small, absolute where large. No nats."""

    type: Literal["vae.log_cosh"] = "vae.log_cosh"
    sharpness: float = Field(10.0, gt=0, description="a, per data unit")


class SquaredErrorSpec(LikelihoodSpec):
    """The squared error, mean or sum over the elements. No nats."""

    type: Literal["vae.squared_error"] = "vae.squared_error"
    reduction: Literal["mean", "sum"] = Field("mean", description="over the elements of an event")
    output: Literal["none", "tanh", "sigmoid"] = Field("none", description="last activation")


def _times(factor: int, event_shape: Shape) -> Shape:
    return (factor * event_shape[0], *event_shape[1:])
