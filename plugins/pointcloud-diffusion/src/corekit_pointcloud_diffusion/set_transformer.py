"""A denoiser in which points interact: they write to a few tokens and read from them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.denoiser import Denoiser, Predicts, Variance
from corekit.interfaces.records import Condition, NoiseLevel
from corekit.nn.recompute import recomputed
from corekit_pointcloud_diffusion.layers import Attention, Context, taken, zeroed

CONDITIONS = ("vector", "labels", "points", "mask")


class SetTransformer(Denoiser):
    r"""N points and M learned tokens: tokens look at points, at each other, points at tokens.

    With h the points, s the tokens, attention :math:`A(a, b)` of a to b, and a perceptron m, in
    each block

    .. math::
        s \leftarrow s + g_1 A(s, h), \quad s \leftarrow s + g_2 A(s, s), \quad
        s \leftarrow s + g_3 m(s), \quad h \leftarrow h + g_4 A(h, s), \quad
        h \leftarrow h + g_5 m(h)

    where what is updated comes in as :math:`(1 + a_i) \odot \text{norm}(\cdot) + b_i`, and gates,
    scales and shifts :math:`(g_i, a_i, b_i)` are linear in an embedding of the noise level, the
    vector and the class; they start at zero. A block costs O(N M), not O(N^2). A point comes in
    as its coordinates x and :math:`\sin 2^k x, \cos 2^k x`; a multiple of x_t, which the noise
    level decides on, is added to the output.

    Points of the condition (a partial cloud) are points like those of x_t, marked by a learned
    vector, that are left out at the end. Where ``mask`` is False none is seen. Nothing depends on
    the order of points, and there may be any number of them.

    Args:
        event_shape: ``(points, dimensions)``.
        condition_shapes: Any of vector ``(V, ...)``, labels ``()``, points ``(K, dimensions)`` with
            mask ``(K,)``.
        out_channels: The dimensions, twice them if variances are learned; or None.
        hidden: Width of a point; a multiple of the heads.
        tokens: M.
        width: Of a token; even, a multiple of the heads.
        depth: Blocks.
        heads: Of attention.
        frequencies: How many k, from 0 on.
        classes: Number of classes, if labels condition it. A label of -1 is no class.
        variance: What a second half of the output says of the variance; "fixed": there is none.
        predicts: What the first half of the output is.

    Shape: x_t ``(B, N, dimensions)``, any N; output the same, or with twice the dimensions.

    Raises:
        ShapeError: If the event is no cloud, a condition is missing or does not fit, or
            out_channels does not.
        UsageError: If an option is out of range.

    Source: Lee et al., Set Transformer, ICML 2019, section 3 (inducing points),
        https://arxiv.org/abs/1810.00825; Huang et al., PointInfinity, CVPR 2024, section 3,
        https://arxiv.org/abs/2404.03566; gates as in Peebles and Xie, DiT, ICCV 2023.
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
        hidden: int = 64,
        tokens: int = 64,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        frequencies: int = 4,
        classes: int | None = None,
        variance: Variance = "fixed",
        predicts: Predicts = "eps",
    ) -> None:
        super().__init__()
        self.event_shape, self.variance, self.predicts = tuple(event_shape), variance, predicts
        self.condition_shapes = taken("SetTransformer", condition_shapes, classes, CONDITIONS)
        check_clouds("SetTransformer", self.event_shape, self.condition_shapes)
        _check(hidden, tokens, width, depth, heads, frequencies)
        dimensions = self.event_shape[1]
        out = dimensions * (2 if self.learns_variance else 1)
        if out_channels not in (None, out):
            raise ShapeError(f"SetTransformer: out_channels must be {out}, got {out_channels}.")
        self.frequencies = frequencies
        self.context = Context("SetTransformer", self.condition_shapes, classes, width)
        self.stem = nn.Linear(dimensions * (1 + 2 * frequencies), hidden)
        given = "points" in self.condition_shapes
        self.flag = nn.Parameter(torch.randn(hidden)) if given else None
        self.tokens = nn.Parameter(0.1 * torch.randn(tokens, width))
        self.blocks = nn.ModuleList(_Block(hidden, width, heads) for _ in range(depth))
        self.steer = zeroed(nn.Linear(width, 2 * hidden))
        self.skip = zeroed(nn.Linear(width, dimensions))
        self.head = zeroed(nn.Linear(hidden, out))

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        c = self.context(level, condition, x_t.dtype)
        h, allowed = self._points(x_t, condition)
        s = self.tokens.expand(len(x_t), -1, -1)
        for block in self.blocks:
            h, s = recomputed(self, block, h, s, c, allowed)
        h = _steered(h[:, : x_t.shape[1]], *self.steer(c)[:, None].chunk(2, dim=2))
        y: Tensor = self.head(h)
        skipped = self.skip(c)[:, None] * x_t
        if not self.learns_variance:
            return y + skipped
        mean, rest = y.chunk(2, dim=2)
        return torch.cat([mean + skipped, rest], dim=2)

    def _points(self, x_t: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor | None]:
        """The points of x_t, then those that are given, and which of them may be seen."""
        h: Tensor = self.stem(self._features(x_t))
        if self.flag is None or condition is None:
            return h, None
        points, mask = condition.points, condition.mask
        if points is None or mask is None:  # `Denoiser.forward` has refused it
            return h, None
        # What a masked point holds is nobody's business: NaN times zero would be NaN.
        points = torch.where(mask.unsqueeze(2), points.to(x_t.dtype), 0.0)
        given = self.stem(self._features(points)) + self.flag
        allowed = torch.cat([mask.new_ones(x_t.shape[:2]), mask], dim=1)
        return torch.cat([h, given], dim=1), allowed

    def _features(self, x: Tensor) -> Tensor:
        """Coordinates, and sines and cosines of them times 1, 2, 4, ...."""
        k = torch.arange(self.frequencies, device=x.device)
        angles = (x.unsqueeze(3) * 2.0**k).flatten(2).to(x.dtype)
        return torch.cat([x, angles.sin(), angles.cos()], dim=2)


class _Block(nn.Module):
    """Tokens read points, think, and are read by points."""

    def __init__(self, hidden: int, width: int, heads: int) -> None:
        super().__init__()
        self.sizes = (*(width,) * 9, *(hidden,) * 6)
        self.steer = zeroed(nn.Linear(width, sum(self.sizes)))
        self.read = Attention(width, hidden, hidden, heads)
        self.think = Attention(width, width, width, heads)
        self.token_mlp = _Mlp(width, 4 * width)
        self.write = Attention(hidden, width, hidden, heads)
        self.point_mlp = _Mlp(hidden, 2 * hidden)

    def forward(
        self, h: Tensor, s: Tensor, c: Tensor, allowed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        by = self.steer(c)[:, None].split(self.sizes, dim=2)  # shift, scale, gate, five times
        s = s + by[2] * self.read(_steered(s, *by[0:2]), _norm(h), allowed)
        seen = _steered(s, *by[3:5])
        s = s + by[5] * self.think(seen, seen)
        s = s + by[8] * self.token_mlp(_steered(s, *by[6:8]))
        h = h + by[11] * self.write(_steered(h, *by[9:11]), _norm(s))
        h = h + by[14] * self.point_mlp(_steered(h, *by[12:14]))
        return h, s


class _Mlp(nn.Module):
    """One hidden layer."""

    def __init__(self, features: int, inside: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(features, inside), nn.Linear(inside, features)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(gelu(self.first(x), approximate="tanh"))
        return y


def _norm(x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:])


def _steered(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, _norm(x), 1 + scale)


def check_clouds(who: str, event_shape: Shape, condition_shapes: Mapping[str, Shape]) -> None:
    """Refuse an event that is no cloud, and given points that do not fit it.

    Raises:
        ShapeError: Which of them.
    """
    if len(event_shape) != 2:
        raise ShapeError(
            f"{who}: the event must be (points, dimensions), got {tuple(event_shape)}."
        )
    points, mask = condition_shapes.get("points"), condition_shapes.get("mask")
    if points is None and mask is None:
        return
    if points is None or mask is None or points[1:] != event_shape[1:] or mask != points[:1]:
        raise ShapeError(
            f"{who}: given points must be (K, {event_shape[1]}) with a mask (K,), got {points} and "
            f"{mask}."
        )


def _check(hidden: int, tokens: int, width: int, depth: int, heads: int, frequencies: int) -> None:
    if min(hidden, tokens, width, depth, heads) < 1 or frequencies < 0:
        raise UsageError(
            "SetTransformer: hidden, tokens, width, depth and heads must be at least 1, and "
            f"frequencies at least 0, got {hidden}, {tokens}, {width}, {depth}, {heads} and "
            f"{frequencies}."
        )
    if hidden % heads or width % heads or width % 2:
        raise UsageError(
            "SetTransformer: hidden and width must be multiples of the heads, and width even, got "
            f"{hidden} and {width} for {heads} heads."
        )
