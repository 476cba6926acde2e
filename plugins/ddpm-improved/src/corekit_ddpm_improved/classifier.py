"""The classifier of noisy images that guides samples: the way down of a U-Net, and a pool."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, relu, scaled_dot_product_attention, silu

from corekit.checkpoint.foreign import read_state
from corekit.data_spec import Shape
from corekit.errors import CheckpointError, CorekitError, UsageError
from corekit.interfaces.records import NoiseLevel
from corekit_ddpm_improved.blocks import ResBlock, Stage
from corekit_ddpm_improved.embedding import Embedding
from corekit_ddpm_improved.guided import stage_names, weights_of
from corekit_ddpm_improved.layers import CONVOLUTIONS, GroupNorm, zeroed
from corekit_ddpm_improved.ways import attention_at, resampling, way_down

Pool = Literal["attention", "adaptive", "spatial", "spatial_v2"]

_HIDDEN = 2048  # of the perceptron behind the spatial pools
_POOLS = {
    "attention": (("norm", "0"), ("qkv", "2.qkv_proj"), ("out", "2.c_proj")),
    "adaptive": (("norm", "0"), ("out", "3")),
    "spatial": (("hidden", "0"), ("out", "2")),
    "spatial_v2": (("hidden", "0"), ("norm", "1"), ("out", "3")),
}
"""Layers of the pools, ours and theirs."""


class Classifier(nn.Module):
    r"""log p(y | x_t) of noisy images.

    Args:
        event_shape: ``(C, L)``, ``(C, H, W)`` or ``(C, D, H, W)``.
        classes: Number of classes.
        channels, multipliers, blocks, attention, heads, head_channels, dropout, scale_shift,
            resample, step_scale: Of its blocks, as of `corekit_ddpm_improved.unet.UNet`.
        pool: From the coarsest grid to classes: "attention", of a query that is the mean (with
            learned positions: events of this size only); "adaptive", the mean; or a perceptron of
            the means of all stages, "spatial", or with a norm, "spatial_v2".

    Shape: x ``(B, *event_shape)``; result ``(B, classes)``, logits.

    Raises:
        UsageError: If an option is out of range.

    Source: Dhariwal and Nichol, Diffusion Models Beat GANs, NeurIPS 2021, section 4,
        https://arxiv.org/abs/2105.05233. Follows guided-diffusion, unet.py (``EncoderUNetModel``).
    """

    def __init__(
        self,
        event_shape: Shape,
        classes: int,
        *,
        channels: int = 128,
        multipliers: Sequence[float] = (1, 2, 3, 4),
        blocks: int = 2,
        attention: Sequence[int] = (2, 4, 8),
        heads: int = 1,
        head_channels: int | None = 64,
        dropout: float = 0.0,
        scale_shift: bool = True,
        resample: str = "blocks",
        step_scale: float | None = None,
        pool: Pool = "attention",
    ) -> None:
        super().__init__()
        if pool not in get_args(Pool):
            known = ", ".join(get_args(Pool))
            raise UsageError(f"Classifier: pool must be one of {known}, got {pool!r}.")
        self.event_shape, self.step_scale, dims = (
            tuple(event_shape),
            step_scale,
            len(event_shape) - 1,
        )
        widths = [round(m * channels) for m in multipliers]
        self.embedding = Embedding(channels, {}, None)
        self.stem = CONVOLUTIONS[dims](event_shape[0], widths[0], 3, padding=1)
        block: Any = partial(
            ResBlock,
            embedding=self.embedding.width,
            dims=dims,
            dropout=dropout,
            scale_shift=scale_shift,
        )
        change = partial(resampling, how=resample, dims=dims, block=block)
        see = partial(attention_at, factors=attention, heads=heads, head_channels=head_channels)
        self.down, skips = way_down(widths, blocks, block, change, see)
        last = widths[-1]
        self.middle = nn.ModuleList(
            [Stage(block(last, last), see(last, None)), Stage(block(last, last))]
        )
        if pool.startswith("spatial"):
            self.pool: nn.Module = Perceptron(sum(skips) + last, classes, norm=pool == "spatial_v2")
        elif pool == "adaptive":
            self.pool = Mean(last, classes)
        else:
            grid = [math.ceil(n / 2 ** (len(widths) - 1)) for n in event_shape[1:]]
            if head_channels is None:
                raise UsageError("Classifier: pool attention must have head_channels, got none.")
            self.pool = AttentionPool(last, math.prod(grid), head_channels, classes)

    def forward(self, x: Tensor, level: NoiseLevel) -> Tensor:
        """The logits of each class."""
        silu_e = silu(self.embedding(self._time(level)))
        h = self.stem(x)
        stages = [h]
        for stage in (*self.down, *self.middle):
            h = stage(h, silu_e)
            stages.append(h)
        del stages[-2]  # the middle is one stage
        logits: Tensor = self.pool(stages)
        return logits

    def log_prob(self, labels: Tensor) -> Callable[[Tensor, NoiseLevel], Tensor]:
        """For `corekit.diffusion.guidance.classifier_guided`: log p(label | x), ``(B,)``."""

        def of_labels(x: Tensor, level: NoiseLevel) -> Tensor:
            found = log_softmax(self(x, level), dim=1)
            return found.gather(1, labels[:, None])[:, 0]

        return of_labels

    def _time(self, level: NoiseLevel) -> Tensor:
        if self.step_scale is None or level.step is None:
            return 1000 * level.time
        return self.step_scale * level.step.to(level.time.dtype)


class Mean(nn.Module):
    """The mean over the coarsest grid, and a linear map that starts at zero."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm, self.out = GroupNorm(channels), zeroed(nn.Linear(channels, classes))

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Logits."""
        logits: Tensor = self.out(silu(self.norm(stages[-1])).flatten(2).mean(2))
        return logits


class Perceptron(nn.Module):
    """A hidden layer of the means of every stage."""

    def __init__(self, channels: int, classes: int, *, norm: bool) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(channels, _HIDDEN), nn.Linear(_HIDDEN, classes)
        self.norm = GroupNorm(_HIDDEN) if norm else None

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Logits."""
        h = self.hidden(torch.cat([stage.flatten(2).mean(2) for stage in stages], dim=1))
        logits: Tensor = self.out(relu(h) if self.norm is None else silu(self.norm(h)))
        return logits


class AttentionPool(nn.Module):
    """Attention of the mean of all positions to them, with learned positions.

    Source: Radford et al., Learning Transferable Visual Models, 2021 (CLIP), ModifiedResNet.
    """

    def __init__(self, channels: int, positions: int, head_channels: int, classes: int) -> None:
        super().__init__()
        if channels % head_channels:
            raise UsageError(
                f"Classifier: head_channels must divide {channels} channels, got {head_channels}."
            )
        self.heads = channels // head_channels
        self.norm = GroupNorm(channels)
        self.position = nn.Parameter(torch.randn(channels, positions + 1) / channels**0.5)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, classes)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Logits."""
        x = silu(self.norm(stages[-1])).flatten(2)
        x = torch.cat((x.mean(2, keepdim=True), x), dim=2) + self.position.to(x.dtype)
        qkv = self.qkv(x.transpose(1, 2)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        logits: Tensor = self.out(scaled_dot_product_attention(q[:, :, :1], k, v).flatten(1))
        return logits


def read_classifier(path: Path | str, **options: Any) -> Classifier:
    """The classifier in a state dict of guided-diffusion; see `classifier_of`.

    Raises:
        CheckpointError: If the file is not such a checkpoint, or does not fit the options.
    """
    theirs = read_state(Path(path))
    try:
        return classifier_of(theirs, **options)
    except (CorekitError, KeyError) as error:
        reason = f"it lacks {error.args[0]}." if isinstance(error, KeyError) else str(error)
        raise CheckpointError(
            f"{path}: must be a classifier of guided-diffusion and fit its flags. {reason}"
        ) from error


def classifier_of(
    theirs: Mapping[str, Tensor],
    *,
    blocks: int = 2,
    size: int = 64,
    num_heads: int = 1,
    num_head_channels: int = 64,
    rescale_timesteps: int | None = None,
) -> Classifier:
    """The classifier that has these weights, in evaluation mode.

    Args:
        theirs: A state dict of guided-diffusion.
        blocks: ``classifier_depth``, which shapes do not tell.
        size: Of the images, where the pool is not attention, which tells it.
        num_heads: Heads of attention in the blocks, if num_head_channels is -1.
        num_head_channels: Channels of each head.
        rescale_timesteps: T, if the network was told 1000 t / T.
    """
    options, positions = _options(theirs, blocks), theirs.get("out.2.positional_embedding")
    coarser = 2 ** (len(options["multipliers"]) - 1)
    if positions is not None:
        size = math.isqrt(positions.shape[1] - 1) * coarser
    net = Classifier(
        (theirs["input_blocks.0.0.weight"].shape[1], size, size),
        heads=num_heads,
        head_channels=None if num_head_channels == -1 else num_head_channels,
        step_scale=1000 / rescale_timesteps if rescale_timesteps else 1.0,
        **options,
    )
    rest = {k: v.float() for k, v in theirs.items() if v is not positions}
    state = {} if positions is None else {"pool.position": positions.float()}
    state |= weights_of(net, rest, pairs=_names(net, options["pool"]))
    net.load_state_dict(state)
    return net.eval()


def _options(theirs: Mapping[str, Tensor], blocks: int) -> dict[str, Any]:
    width = theirs["time_embed.0.weight"].shape[1]
    stages = 1 + max(int(k.split(".")[1]) for k in theirs if k.startswith("input_blocks."))
    plain = [i for i in range(stages) if f"input_blocks.{i}.0.op.weight" in theirs]
    blocks = plain[0] - 1 if plain else blocks
    if stages % (blocks + 1):
        raise UsageError(
            f"Classifier: {stages} stages must be grids of as many blocks, got {blocks} per grid. "
            "Give blocks (classifier_depth)."
        )
    first = [f"input_blocks.{1 + i}" for i in range(0, stages - 1, blocks + 1)]
    wide = [theirs[f"{name}.0.out_layers.3.weight"].shape[0] for name in first]
    embed = theirs[f"{first[0]}.0.emb_layers.1.weight"]
    pool = "adaptive"
    if "out.2.positional_embedding" in theirs:
        pool = "attention"
    elif theirs["out.0.weight"].ndim == 2:
        pool = "spatial_v2" if "out.3.weight" in theirs else "spatial"
    head = {"attention": "out.2.c_proj", "spatial": "out.2"}.get(pool, "out.3")
    return {
        "classes": theirs[f"{head}.weight"].shape[0],
        "channels": width,
        "multipliers": tuple(w / width for w in wide),
        "blocks": blocks,
        "attention": tuple(2**i for i, n in enumerate(first) if f"{n}.1.norm.weight" in theirs),
        "scale_shift": embed.shape[0] == 2 * wide[0],
        "resample": "convolution" if plain else "blocks",
        "pool": pool,
    }


def _names(net: Classifier, pool: Pool) -> Iterator[tuple[str, str]]:
    """Pairs of names of layers, ours and theirs."""
    yield "embedding.hidden", "time_embed.0"
    yield "embedding.out", "time_embed.2"
    yield "stem", "input_blocks.0.0"
    for i in range(len(net.down)):
        yield from stage_names(net, f"down.{i}", f"input_blocks.{i + 1}", at=0)
    yield from stage_names(net, "middle.0", "middle_block", at=0)
    yield from stage_names(net, "middle.1", "middle_block", at=2)
    yield from ((f"pool.{ours}", f"out.{theirs}") for ours, theirs in _POOLS[pool])
