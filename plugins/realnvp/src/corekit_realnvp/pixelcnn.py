"""PixelCNN: masked convolutions whose output at a pixel sees the pixels before it."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.frozen import Derived
from corekit.interfaces.network import Network
from corekit.nn.convnet import check_image
from corekit_realnvp.pixel_masks import Kind, kernel_mask, sizes_of

Channels = Literal["ordered", "independent"]
Apply = Callable[["MaskedConv", Tensor], Tensor]
Element = Callable[[int, Tensor], Tensor]
"""Called with the number of an element and its parameters ``(P, B)``: the element, ``(B,)``."""


class MaskedConv(Derived):
    """A convolution some of whose weights are kept at zero, that keeps height and width.

    Args:
        into: To which group each input channel belongs.
        out: To which group each output channel belongs.
        size: Height and width of the kernel, odd.
        kind: "A" does not see the own group at the own pixel, "B" does.
    """

    mask: Tensor

    def __init__(self, into: Sequence[int], out: Sequence[int], size: int, kind: Kind) -> None:
        super().__init__()
        start = nn.Conv2d(len(into), len(out), size)
        self.weight, self.bias = start.weight, nn.Parameter(torch.zeros(len(out)))
        mask = torch.tensor(kernel_mask(into, out, size, kind), dtype=self.weight.dtype)
        self.register_buffer("mask", mask, persistent=False)
        self.out, self.size = tuple(out), size

    def kept(self) -> Tensor:
        """The weights that count."""
        return self.derived("kept", lambda: self.weight * self.mask, self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to whole images."""
        return conv2d(x, self.kept(), self.bias, padding=self.size // 2)


class GroupedNorm(nn.Module):
    """Mean 0 and variance 1 over the channels of each group at each pixel, then learned scales."""

    def __init__(self, groups: Sequence[int]) -> None:
        super().__init__()
        self.sizes = sizes_of(groups)
        self.weight = nn.Parameter(torch.ones(len(groups)))
        self.bias = nn.Parameter(torch.zeros(len(groups)))

    def forward(self, h: Tensor, group: int | None = None) -> Tensor:
        """Apply it to whole images, or to one group at one pixel ``(B, channels)``."""
        if group is not None:
            weight, bias = self.weight.split(self.sizes)[group], self.bias.split(self.sizes)[group]
            return _normal(h) * weight + bias
        whole = torch.cat([_normal(part) for part in h.split(self.sizes, dim=1)], dim=1)
        return whole * self.weight[:, None, None] + self.bias[:, None, None]


class PixelCnn(Network):
    r"""Parameters of each pixel, channel by channel, from the pixels above and to the left.

    A masked convolution of kind A; then layers of a normalisation over channels, ReLU and a masked
    convolution of kind B; then two masked 1x1 convolutions with ReLU before each. Hidden channels
    are divided into one group per channel of the image, and a group sees its own and the ones
    before it: green may depend on the red of its pixel. Normalisation stays inside a group, or it
    would carry what must not be seen.

    Args:
        in_shape: ``(C, H, W)``.
        out_shape: ``(P, C, H, W)``.
        context_shape: Shape of a context, which shifts every hidden channel of the first layer; or
            None.
        filters: Hidden channels, at least 2 for each channel of the image.
        layers: Number of layers between the first and the last two convolutions.
        kernel: Side of the kernels, odd.
        residual: Whether a layer is x plus a 1x1, a masked and a 1x1 convolution, half as wide.
        channels: ordered: one after the other. independent: all channels of a pixel at once, given
            the pixels before, as the original code has it; cheaper, and a poorer model.
        zero_last: Whether a new network gives zeros.

    Shape: x ``(B, C, H, W)``, context ``(B, *context_shape)``; output ``(B, P, C, H, W)``.

    Raises:
        ShapeError: If the shapes are not those.
        UsageError: If an option is out of range.

    Source: van den Oord et al., Pixel Recurrent Neural Networks, ICML 2016, section 3.4,
        https://arxiv.org/abs/1601.06759; layers as in homework 2 of Berkeley CS294-158 (2020).
    """

    autoregressive = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        filters: int = 64,
        layers: int = 5,
        kernel: int = 7,
        residual: bool = False,
        channels: Channels = "ordered",
        zero_last: bool = True,
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        check_image("PixelCnn", in_shape, out_shape)
        if len(out_shape) != 4 or tuple(out_shape[1:]) != tuple(in_shape):
            raise ShapeError(
                "PixelCnn: out_shape must be (P, channels, height, width) with the sizes of x, got "
                f"{tuple(out_shape)} for {tuple(in_shape)}."
            )
        colours, height, width = in_shape
        if kernel % 2 == 0 or kernel < 3 or layers < 0 or channels not in _CHANNELS:
            raise UsageError(
                "PixelCnn: kernel must be odd and at least 3, layers at least 0 and channels "
                f"ordered or independent, got {kernel}, {layers} and {channels!r}."
            )
        self.groups = colours if channels == "ordered" else 1
        if filters < 2 * self.groups or (residual and filters // 2 < self.groups):
            raise UsageError(
                f"PixelCnn: filters must be at least {2 * self.groups}, 2 for each channel of the "
                f"image, got {filters}."
            )
        seen = [c % self.groups for c in range(colours)]
        wide, half = (
            [i * self.groups // n for i in range(n)] for n in (filters, max(filters // 2, 1))
        )
        self.first = MaskedConv(seen, wide, kernel, "A")
        self.norms = nn.ModuleList(GroupedNorm(wide) for _ in range(layers))
        shapes = [(wide, half, 1), (half, half, kernel), (half, wide, 1)]
        bodies = shapes if residual else [(wide, wide, kernel)]
        self.bodies = nn.ModuleList(
            nn.ModuleList(MaskedConv(a, b, size, "B") for a, b, size in bodies)
            for _ in range(layers)
        )
        self.hidden = MaskedConv(wide, wide, 1, "B")
        self.last = MaskedConv(wide, seen * out_shape[0], 1, "B")
        if context_shape is not None:
            self.context = nn.Linear(math.prod(context_shape), filters, bias=False)
        if zero_last:
            nn.init.zeros_(self.last.weight)
        pixel = torch.arange(height * width).reshape(1, height, width)
        order = torch.arange(colours)[:, None, None] if self.groups > 1 else 0
        rank = (pixel * self.groups + order).expand(in_shape)
        self.register_buffer("rank", rank.contiguous(), persistent=False)
        self.rounds = height * width * self.groups

    @property
    def incremental(self) -> bool:
        """Whether `sequential` serves: where no gradient is asked for."""
        return not torch.is_grad_enabled()

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        shift = None if context is None else self.context(context.flatten(1))[:, :, None, None]
        return self._run(x, lambda conv, value: conv(value), shift)

    def _run(
        self, x: Tensor, apply: Apply, shift: Tensor | None, group: int | None = None
    ) -> Tensor:
        """The network, each convolution by ``apply``: on whole images, or at one pixel."""
        h = apply(self.first, x)
        h = h if shift is None else h + shift
        for norm, body in zip(self.norms, self.bodies, strict=True):
            h = relu(norm(h, group))
            convs = cast("list[MaskedConv]", list(cast(nn.ModuleList, body)))
            added = apply(convs[0], h)
            for conv in convs[1:]:
                added = apply(conv, relu(added))
            h = h + added if len(convs) > 1 else added
        return apply(self.last, relu(apply(self.hidden, relu(h))))

    @torch.no_grad()
    def sequential(self, element: Element, like: Tensor, context: Tensor | None) -> Tensor:
        """Compute the elements in their order, each from parameters that the ones before give.

        Every hidden number is computed once and kept, so all elements together cost about one
        pass over the image, not one each.

        Args:
            element: Gives an element from its parameters.
            like: ``(B, C, H, W)``, whose rows, dtype and device the result has.
            context: As in ``forward``.

        Returns:
            x ``(B, C, H, W)``, ``x.flatten(1)[:, i]`` being ``element(i, parameters of i)``.
        """
        colours, height, width = self.in_shape
        kept = _Kept(self, like)
        shift = None if context is None else self.context(context.flatten(1))
        sizes = self.first.out
        for place in range(height * width):
            for group in range(self.groups):
                kept.at(place, group)
                own = [i for i, g in enumerate(sizes) if g == group]
                given = None if shift is None else shift[:, own[0] : own[-1] + 1]
                params = self._run(like[:, :0, 0, 0], kept.apply, given, group)
                members = range(group, colours, self.groups)
                params = params.reshape(len(like), -1, len(members))
                for i, colour in enumerate(members):
                    number = colour * height * width + place
                    kept.found(colour, element(number, params[:, :, i].T))
        return kept.image()


_CHANNELS = ("ordered", "independent")


class _Kept:
    """What each convolution has been given so far, in frames of zeros."""

    def __init__(self, net: PixelCnn, like: Tensor) -> None:
        self.net, self.place, self.group = net, (0, 0), 0
        rows, (_, height, width) = len(like), net.in_shape
        self.frames: dict[MaskedConv, Tensor] = {}
        self.weights: dict[tuple[MaskedConv, int], tuple[Tensor, Tensor]] = {}
        self.into: dict[MaskedConv, list[Tensor]] = {}
        for conv in (m for m in net.modules() if isinstance(m, MaskedConv)):
            edge, channels = conv.size // 2, conv.weight.shape[1]
            shape = (rows, channels, height + edge, width + 2 * edge)
            self.frames[conv] = like.new_zeros(shape)
            out = torch.tensor(conv.out, device=like.device)
            above = conv.kept()[:, :, : edge + 1]  # what lies below is masked
            for group in range(net.groups):
                own = (out == group).nonzero().flatten()
                self.weights[conv, group] = above[own].flatten(1).T.contiguous(), conv.bias[own]

    def at(self, place: int, group: int) -> None:
        """Go to a pixel and a group."""
        self.place, self.group = divmod(place, self.net.in_shape[2]), group

    def apply(self, conv: MaskedConv, value: Tensor) -> Tensor:
        """The outputs of the group at the pixel; ``value`` are the group's inputs there."""
        (y, x), frame, edge = self.place, self.frames[conv], conv.size // 2
        if conv is not self.net.first:
            start = self._start(frame.shape[1])
            frame[:, start : start + value.shape[1], y + edge, x + edge] = value
        window = frame[:, :, y : y + edge + 1, x : x + conv.size].flatten(1)
        weight, bias = self.weights[conv, self.group]
        return torch.addmm(bias, window, weight)

    def found(self, colour: int, value: Tensor) -> None:
        """Put an element into the image."""
        (y, x), conv = self.place, self.net.first
        edge = conv.size // 2
        self.frames[conv][:, colour, y + edge, x + edge] = value

    def image(self) -> Tensor:
        """The elements."""
        edge, (_, _, width) = self.net.first.size // 2, self.net.in_shape
        return self.frames[self.net.first][:, :, edge:, edge : edge + width].contiguous()

    def _start(self, channels: int) -> int:
        """The first channel of the group, of so many."""
        return -(-self.group * channels // self.net.groups)


def _normal(h: Tensor) -> Tensor:
    centred = h - h.mean(1, keepdim=True)
    return centred * (centred.square().mean(1, keepdim=True) + 1e-5).rsqrt()
