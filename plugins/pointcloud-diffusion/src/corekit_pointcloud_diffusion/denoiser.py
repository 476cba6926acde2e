"""The pointwise denoiser: one perceptron for every point, gated by the condition."""

import math
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

TILE = 512
"""Points that go through all layers together on one core, so that activations stay in its cache."""
SEGMENT = 3
"""Layers of which the input alone is kept where activations are computed again."""


class PointwiseNet(Denoiser):
    r"""Layers whose weights are gated and shifted by a context, applied to each point alone.

    .. math:: y = (W x + b) \odot \operatorname{sigmoid}(G c + g) + H c, \qquad
        c = (\text{time}, z)

    with a leaky ReLU (slope 0.01) after all layers but the last. Points do not interact given z, so
    any number of them can be denoised. The gate is folded into the weights of each cloud,
    (diag(gate) W) x + (gate b + H c), which saves a pass over all activations per layer.

    Args:
        event_shape: ``(points, dimensions)``.
        condition_shapes: ``{"vector": (C,)}`` for the latent, or empty.
        out_channels: Must be the dimensions: the variance is not learned.
        hidden: Widths of the hidden layers.
        residual: Add x_t to the output.
        time: "sinusoidal": 32 features of 1000 x time; "beta": (beta, sin beta, cos beta) as in the
            reference, whose values differ little between steps.
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
        self.condition_shapes = {k: v for k, v in (condition_shapes or {}).items() if k == "vector"}
        self.residual, self.time = residual, time
        widths = (dimensions, *hidden, dimensions)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        context = (32 if time == "sinusoidal" else 3) + sum(
            v[0] for v in self.condition_shapes.values()
        )
        # The gates and the shifts of all layers are two matrices: one product each per call.
        self.gate = nn.Linear(context, sum(widths[1:]))
        self.shift = nn.Linear(context, sum(widths[1:]), bias=False)

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        context = self._embed(level).to(x_t.dtype)
        if self.condition_shapes:
            z = Condition.vector_of(condition, "PointwiseNet")
            context = torch.cat([context, z.to(x_t.dtype)], dim=1)  # (B, context)
        folded = self._fold(context)
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
        frequencies = torch.exp(
            torch.arange(16, device=level.time.device, dtype=level.time.dtype)
            * (-math.log(10_000) / 16)
        )
        angles = 1000 * level.time.unsqueeze(1) * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)
