"""The pointwise denoiser: one perceptron for every point, gated by the condition."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.denoiser import Denoiser, Predicts
from corekit.interfaces.records import Condition, NoiseLevel
from corekit.nn.recompute import recomputed
from corekit_pointcloud_diffusion.layers import Classes, taken, time_features

TILE = 512
"""Points that go through all layers together on one core, so that activations stay in its cache."""
FEATURES = 32
"""Numbers that tell the time, or a class."""
SEGMENT = 3
"""Layers of which the input alone is kept where activations are computed again."""


class PointwiseNet(Denoiser):
    r"""Layers whose weights are gated and shifted by a context, applied to each point alone.

    .. math:: y = (W x + b) \odot \operatorname{sigmoid}(G c + g) + H c, \qquad
        c = (\text{time}, z)

    with a leaky ReLU (slope 0.01) after all layers but the last. Points do not interact given z, so
    any number of them can be denoised. With ``classes`` the context holds 32 learned numbers of the
    class as well. The gate is folded into the weights of each cloud,
    (diag(gate) W) x + (gate b + H c), which saves a pass over all activations per layer.

    Args:
        event_shape: ``(points, dimensions)``.
        condition_shapes: Any of vector ``(C,)``, for the latent, and labels ``()``.
        out_channels: Must be the dimensions: the variance is not learned.
        hidden: Widths of the hidden layers.
        residual: Add x_t to the output.
        time: "sinusoidal": 32 features of 1000 x time; "beta": (beta, sin beta, cos beta) as in the
            reference, whose values differ little between steps.
        classes: Number of classes, if labels condition it. A label of -1 is no class.
        predicts: What the output is.

    Shape: x_t, output ``(B, N, dimensions)``, any N.

    Raises:
        ShapeError: If the event is not a cloud, or another number of channels is asked for.
        UsageError: If ``time="beta"`` meets a schedule without betas.

    Source:
        Luo and Hu, Diffusion Probabilistic Models for 3D Point Cloud Generation, CVPR 2021,
        https://arxiv.org/abs/2103.01458. Follows diffusion-point-cloud, models/diffusion.py.
    """

    free_axes = (0,)
    channel_axis = 1
    recompute = False  # see corekit.nn.recompute

    def __init__(
        self,
        event_shape: Shape,
        condition_shapes: Mapping[str, Shape] | None = None,
        out_channels: int | None = None,
        *,
        hidden: Sequence[int] = (128, 256, 512, 256, 128),
        residual: bool = True,
        time: Literal["sinusoidal", "beta"] = "sinusoidal",
        classes: int | None = None,
        predicts: Predicts = "eps",
    ) -> None:
        super().__init__()
        if len(event_shape) != 2:
            raise ShapeError(
                f"PointwiseNet: the event must be (points, dimensions), got {event_shape}."
            )
        dimensions = event_shape[1]
        if out_channels not in (None, dimensions):
            raise ShapeError(
                f"PointwiseNet: out_channels must be {dimensions}, got {out_channels}."
            )
        if time not in ("sinusoidal", "beta"):
            raise UsageError(f"PointwiseNet: time must be 'sinusoidal' or 'beta', got {time!r}.")
        self.event_shape, self.predicts = tuple(event_shape), predicts
        names = ("vector", "labels")
        self.condition_shapes = taken("PointwiseNet", condition_shapes, classes, names)
        self.residual, self.time = residual, time
        widths = (dimensions, *hidden, dimensions)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.label = None if classes is None else Classes("PointwiseNet", classes, FEATURES)
        context = FEATURES if time == "sinusoidal" else 3
        context += sum(self.condition_shapes.get("vector", ()))
        context += 0 if classes is None else FEATURES
        # The gates and the shifts of all layers are two matrices: one product each per call.
        self.gate = nn.Linear(context, sum(widths[1:]))
        self.shift = nn.Linear(context, sum(widths[1:]), bias=False)

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        folded = self._fold(self._context(level, condition, x_t.dtype))
        compiled = torch.compiler.is_compiling()  # a compiler has tiles of its own
        if x_t.device.type == "cpu" and not compiled and torch.get_num_threads() == 1 and len(x_t):
            # Unbound once: indexing would cost a tensor of zeros per use in the backward pass.
            clouds = zip(
                *(zip(w.unbind(), b.unbind(), strict=True) for w, b in folded), strict=True
            )
            pairs = zip(x_t, clouds, strict=True)
            y = torch.stack([recomputed(self, self._tiled, x, layers) for x, layers in pairs])
        else:
            y = self._batched(x_t, folded)
        return x_t + y if self.residual else y

    def _context(
        self, level: NoiseLevel, condition: Condition | None, dtype: torch.dtype
    ) -> Tensor:
        """What the gates are told: the time, the latent and the class, ``(B, context)``."""
        parts = [self._embed(level).to(dtype)]
        if "vector" in self.condition_shapes:
            parts.append(Condition.vector_of(condition, "PointwiseNet").to(dtype))
        if self.label is not None and condition is not None and condition.labels is not None:
            parts.append(self.label(condition.labels).to(dtype))
        return torch.cat(parts, dim=1)

    def _fold(self, context: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weight ``(B, out, in)`` and bias ``(B, out)`` of every layer, gates folded in."""
        layers: list[Any] = list(self.layers)
        sizes = [layer.out_features for layer in layers]
        gates = torch.sigmoid(self.gate(context)).split(sizes, dim=1)
        shifts = self.shift(context).split(sizes, dim=1)
        return [
            (gate.unsqueeze(2) * layer.weight, torch.addcmul(shift, gate, layer.bias))
            for layer, gate, shift in zip(layers, gates, shifts, strict=True)
        ]

    @staticmethod
    def _tiled(x: Tensor, layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """One cloud, ``(N, dimensions)``, tile by tile through all layers: fastest on one core."""
        tiles = []
        for y in x.split(TILE):
            for i, (weight, bias) in enumerate(layers):
                y = torch.addmm(bias, y, weight.t())
                y = leaky_relu_(y) if i < len(layers) - 1 else y
            tiles.append(y)
        return torch.cat(tiles)

    def _batched(self, y: Tensor, folded: list[tuple[Tensor, Tensor]]) -> Tensor:
        """All clouds at once: few, large operations for many cores or a GPU."""
        for start in range(0, len(folded), SEGMENT):
            last = start + SEGMENT >= len(folded)
            y = recomputed(self, self._segment, y, folded[start : start + SEGMENT], last)
        return y

    @staticmethod
    def _segment(y: Tensor, folded: list[tuple[Tensor, Tensor]], last: bool) -> Tensor:
        for i, (weight, bias) in enumerate(folded):
            y = torch.baddbmm(bias.unsqueeze(1), y, weight.mT)
            y = y if last and i == len(folded) - 1 else leaky_relu_(y)
        return y

    def _embed(self, level: NoiseLevel) -> Tensor:
        """What the network is told about the noise level, ``(B, 32)`` or ``(B, 3)``."""
        if self.time == "beta":
            if level.beta is None:
                raise UsageError(
                    "PointwiseNet: time='beta' must have a schedule of betas. Use 'sinusoidal'."
                )
            beta = level.beta.unsqueeze(1)
            return torch.cat([beta, beta.sin(), beta.cos()], dim=1)
        return time_features(level.time, FEATURES)
