"""The U-Net of improved diffusion, and of what came after it."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.denoiser import Denoiser, Predicts, Variance
from corekit.interfaces.records import Condition, NoiseLevel
from corekit.nn.recompute import recomputed
from corekit_ddpm_improved.blocks import ResBlock, Stage
from corekit_ddpm_improved.conditions import taken
from corekit_ddpm_improved.embedding import Embedding
from corekit_ddpm_improved.layers import CONVOLUTIONS, GroupNorm, zeroed
from corekit_ddpm_improved.ways import attention_at, resampling, way_down, way_up


class UNet(Denoiser):
    r"""Residual blocks on ever coarser grids and back, with a connection at every block.

    Level l has ``blocks`` residual blocks of ``channels * multipliers[l]`` channels, then half the
    grid; the way back has one more per level, each of which also sees what the way down had there.
    Attention looks over all positions of the grids that are coarser by the factors ``attention``,
    and of the coarsest. The noise level, a class and a vector enter every block; an image is put
    beside x_t. Any size: an odd grid is halved to its larger half, and comes back to its own.

    Args:
        event_shape: ``(C, L)``, ``(C, H, W)`` or ``(C, D, H, W)``; D is never halved.
        condition_shapes: Any of vector ``(V,)``, labels ``()`` and image ``(C', h, w)`` (of as many
            axes as the event), which is resized linearly. A label of -1 is no class.
        out_channels: As many as the event has, twice that if variances are learned; or None.
        channels: Width of the first grid, before its multiplier.
        multipliers: Widths of the grids, in multiples of that.
        blocks: Residual blocks per grid on the way down.
        attention: Factors by which a grid is coarser than the event, where there is attention.
        heads: Of attention; or ``head_channels`` each.
        heads_up: On the way back, if other than heads.
        dropout: Probability, inside residual blocks.
        scale_shift: Whether the embedding scales and shifts in a block, or is added.
        resample: "convolution"; "average" and nearest neighbours alone; or inside "blocks".
        classes: Number of classes, if labels condition it.
        step_scale: The network is told ``step_scale * t`` of the original integer t, as that of
            improved-diffusion (1, or 1000 / T where timesteps are rescaled); None: 1000 x time.
        variance: What a second half of the output says of the variance: "log" or "range"; "fixed":
            there is none.
        self_condition: Whether it sees its earlier estimate of x_0 as well (zeros if none).
        predicts: What the first half of the output is.

    Shape: x_t ``(B, *event_shape)``; output the same, or with twice the channels.

    Raises:
        ShapeError: If the event or a condition cannot be taken, or out_channels does not fit.
        UsageError: If an option is out of range.

    Source: Nichol and Dhariwal, Improved DDPM, ICML 2021, app. A, https://arxiv.org/abs/2102.09672;
        Dhariwal and Nichol, Diffusion Models Beat GANs, NeurIPS 2021, app. B,
        https://arxiv.org/abs/2105.05233. Follows improved-diffusion, unet.py.
    """

    recompute = False  # see corekit.nn.recompute

    def __init__(
        self,
        event_shape: Shape,
        condition_shapes: Mapping[str, Shape] | None = None,
        out_channels: int | None = None,
        *,
        channels: int = 128,
        multipliers: Sequence[float] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (2, 4),
        heads: int = 4,
        head_channels: int | None = None,
        heads_up: int | None = None,
        dropout: float = 0.0,
        scale_shift: bool = True,
        resample: str = "convolution",
        classes: int | None = None,
        step_scale: float | None = None,
        variance: Variance = "fixed",
        self_condition: bool = False,
        predicts: Predicts = "eps",
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        dims, own = len(self.event_shape) - 1, self.event_shape[0]
        self.condition_shapes = _taken(self.event_shape, condition_shapes or {}, classes)
        _check(dims, multipliers, blocks, resample)
        self.variance, self.predicts = variance, predicts
        self.self_condition, self.step_scale = self_condition, step_scale
        out = own * (2 if self.learns_variance else 1)
        if out_channels not in (None, out):
            raise ShapeError(f"UNet: out_channels must be {out}, got {out_channels}.")
        image = self.condition_shapes.get("image", (0,))[0]
        widths = [round(m * channels) for m in multipliers]
        conv, width = CONVOLUTIONS[dims], widths[0]
        self.embedding = Embedding(channels, self.condition_shapes, classes)
        self.stem = conv(own * (2 if self_condition else 1) + image, width, 3, padding=1)
        block = partial(
            ResBlock,
            embedding=self.embedding.width,
            dims=dims,
            dropout=dropout,
            scale_shift=scale_shift,
        )
        change = partial(resampling, how=resample, dims=dims, block=block)
        see = partial(attention_at, factors=attention, head_channels=head_channels)
        down, skips = way_down(widths, blocks, block, change, partial(see, heads=heads))
        last = widths[-1]
        seeing = Stage(block(last, last), see(last, None, heads=heads))
        self.down, self.middle = down, nn.ModuleList([seeing, Stage(block(last, last))])
        self.up = way_up(
            widths, blocks, block, change, partial(see, heads=heads_up or heads), skips
        )
        self.norm, self.head = GroupNorm(width), zeroed(conv(width, out, 3, padding=1))

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        h = self.features(x_t, level, condition, previous=previous)["up"][-1]
        output: Tensor = self.head(silu(self.norm(h)))
        return output

    def features(
        self,
        x_t: Tensor,
        level: NoiseLevel,
        condition: Condition | None = None,
        *,
        previous: Tensor | None = None,
    ) -> dict[str, list[Tensor]]:
        """What the blocks make of a noisy batch: ``down``, ``middle`` and ``up``, in order."""
        silu_e = silu(self.embedding(self._time(level), condition))
        h = self.stem(self._beside(x_t, condition, previous))
        down, middle, up = [h], [], []
        for stage in self.down:
            h = recomputed(self, stage, h, silu_e)
            down.append(h)
        for stage in self.middle:
            h = recomputed(self, stage, h, silu_e)
            middle.append(h)
        skips = list(down)
        for stage in self.up:
            h = torch.cat((h, skips.pop()), dim=1)
            h = recomputed(self, stage, h, silu_e, skips[-1].shape[2:] if skips else None)
            up.append(h)
        return {"down": down, "middle": middle[-1:], "up": up}

    def _time(self, level: NoiseLevel) -> Tensor:
        if self.step_scale is None:
            return 1000 * level.time
        if level.step is None:
            raise UsageError(
                "UNet: step_scale must meet a schedule with integer steps, got a continuous one. "
                "Leave step_scale out: the network is then told the time."
            )
        return self.step_scale * level.step.to(level.time.dtype)

    def _beside(self, x_t: Tensor, condition: Condition | None, previous: Tensor | None) -> Tensor:
        """x_t with an earlier estimate and an image behind it, as channels."""
        parts = [x_t]
        if self.self_condition:
            parts.append(torch.zeros_like(x_t) if previous is None else previous.to(x_t.dtype))
        image = None if condition is None else condition.image
        if "image" in self.condition_shapes and image is not None:
            if image.shape[2:] != x_t.shape[2:]:
                mode = ("linear", "bilinear", "trilinear")[x_t.ndim - 3]
                image = interpolate(image, x_t.shape[2:], mode=mode, align_corners=False)
            parts.append(image.to(x_t.dtype))
        return torch.cat(parts, dim=1) if len(parts) > 1 else x_t


def _taken(event_shape: Shape, given: Mapping[str, Shape], classes: int | None) -> dict[str, Shape]:
    """The conditions that it takes."""
    found = taken("UNet", given, classes, ("vector", "labels", "image"))
    if "image" in found and len(found["image"]) != len(event_shape):
        raise ShapeError(
            f"UNet: an image to see must have the axes of the event {event_shape}, got "
            f"{found['image']}."
        )
    return found


def _check(dims: int, multipliers: Sequence[float], blocks: int, resample: str) -> None:
    if dims not in CONVOLUTIONS:
        raise ShapeError(
            f"UNet: the event must be (C, L), (C, H, W) or (C, D, H, W), got {dims + 1} axes."
        )
    if not multipliers or min(multipliers) <= 0 or blocks < 1:
        raise UsageError(
            "UNet: multipliers must be positive numbers, one per grid, and blocks at least 1, got "
            f"{tuple(multipliers)} and {blocks}."
        )
    if resample not in ("convolution", "average", "blocks"):
        raise UsageError(
            f"UNet: resample must be convolution, average or blocks, got {resample!r}."
        )
