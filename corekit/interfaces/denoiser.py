"""The Denoiser interface: a network that sees a noisy sample and says what is noise."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.interfaces.records import Condition, NoiseLevel
from corekit.interfaces.shapes import check_shape

Predicts = Literal["eps", "x_0", "v", "velocity", "x_prev"]
Variance = Literal["fixed", "log", "range"]


class Denoiser(nn.Module, ABC):
    r"""A network :math:`(x_t, \text{noise level}, c) \mapsto` noise, clean data or a velocity.

    **Implement one.** Take ``(event_shape, condition_shapes, out_channels)`` first in the
    constructor, set the attributes below, and write ``_forward``. ``out_channels`` is the length of
    the output along the channel axis; None means that of the event. The output is the raw
    prediction; its conversion to (x_0, eps) is `corekit.diffusion.process.to_prediction`.

    Attributes:
        event_shape: Shape of x_t without the batch.
        condition_shapes: name of a `Condition` field -> its shape without the batch.
        predicts: "eps", "x_0", "v" (= alpha eps - sigma x_0), "velocity" (= dx_t / dtime) or
            "x_prev" (the mean of the step back).
        channel_axis: Axis of the event that holds channels; learned variances double it.
        variance: What a second half of the output, along the channel axis, says of the variance of
            the step back: "log", its logarithm; "range", where that lies between the two of
            `Reverse`, from -1 to 1; "fixed": there is none.
        free_axes: Axes of the event that may have any length (points of a cloud).
        self_condition: It sees its earlier estimate of x_0 (``previous``): training gives it one
            half of the time, samplers from their second call on.

    Shape:
        - x_t, output: ``(B, *event_shape)``; channels doubled unless ``variance`` is "fixed"
        - level: a `NoiseLevel` of ``(B,)`` tensors
    """

    event_shape: Shape
    condition_shapes: Mapping[str, Shape]
    predicts: Predicts = "eps"
    channel_axis: int = 0
    variance: Variance = "fixed"
    free_axes: tuple[int, ...] = ()
    self_condition: bool = False

    def forward(
        self,
        x_t: Tensor,
        level: NoiseLevel,
        condition: Condition | None = None,
        *,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The raw prediction for a noisy batch; ``previous`` is an earlier estimate of x_0."""
        who = type(self).__name__
        check_shape(who, "x_t", x_t, self.event_shape, free=self.free_axes)
        for name, shape in self.condition_shapes.items():
            value = getattr(condition, name, None)
            if value is None:
                raise ShapeError(
                    f"{who}: needs the condition '{name}' of shape (batch, *{shape}), got none."
                )
            check_shape(who, f"condition.{name}", value, shape)
            if len(value) != len(x_t):
                raise ShapeError(
                    f"{who}: condition.{name} must have {len(x_t)} rows, one per row of x_t, "
                    f"got {len(value)}."
                )
        return self._forward(x_t, level, condition, previous)

    @property
    def learns_variance(self) -> bool:
        """Whether the output has a second half."""
        return self.variance != "fixed"

    def prepared(self, condition: Condition | None) -> "Denoiser":
        """A denoiser that has done its work for a fixed condition; samplers ask for it once."""
        return self

    @abstractmethod
    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor: ...
