"""A U-Net of the diffusers library as a denoiser."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.denoiser import Denoiser, Predicts, Variance
from corekit.interfaces.records import Condition, NoiseLevel
from corekit_ddpm_improved.conditions import taken


class DiffusersUNet(Denoiser):
    """What a ``UNet2DModel`` of diffusers says, under every schedule, loss and sampler of corekit.

    It is used as it is, weights and all; of the library nothing is imported here. For Python: a
    spec names components only.

    Args:
        unet: Called as ``unet(sample, timestep, class_labels=...)``, which gives ``.sample``; its
            ``config`` has ``in_channels``, ``out_channels`` and ``num_class_embeds``.
        event_shape: ``(C, H, W)``, of sides that it can halve as often as it does.
        condition_shapes: Labels, if it has classes.
        predicts: What it was trained to predict: ``prediction_type`` of its scheduler, epsilon
            (eps), sample (x_0) or v_prediction (v).
        variance: "range" or "log" where it has twice the channels.

    Shape: x_t ``(B, *event_shape)``; output the same, or with twice the channels.

    Raises:
        ShapeError: If its channels are others, or it has classes and the data no labels.
        UsageError: On a continuous schedule, as it is told integer steps.

    Source: von Platen et al., Diffusers, https://github.com/huggingface/diffusers.
    """

    def __init__(
        self,
        unet: nn.Module,
        event_shape: Shape,
        condition_shapes: Mapping[str, Shape] | None = None,
        *,
        predicts: Predicts = "eps",
        variance: Variance = "fixed",
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.predicts, self.variance = predicts, variance
        config: Any = unet.config
        classes = config.num_class_embeds
        self.condition_shapes = taken("DiffusersUNet", condition_shapes or {}, classes, ("labels",))
        own = self.event_shape[0]
        wanted = own, own * (2 if self.learns_variance else 1)
        if (config.in_channels, config.out_channels) != wanted:
            raise ShapeError(
                f"DiffusersUNet: the network must have {wanted[0]} channels and give {wanted[1]}, "
                f"got {config.in_channels} and {config.out_channels}."
            )
        self.unet = unet

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        if level.step is None:
            raise UsageError(
                "DiffusersUNet: the schedule must have integer steps, got a continuous one. Use "
                "ddpm.linear with the betas of its scheduler."
            )
        labels = None if condition is None else condition.labels
        known = {} if "labels" not in self.condition_shapes else {"class_labels": labels}
        output: Tensor = self.unet(x_t, level.step, **known).sample
        return output
