"""Weights of improved-diffusion and guided-diffusion: their names, and what they tell."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from corekit.errors import UsageError
from corekit_ddpm_improved.blocks import Resampling, ResBlock, SelfAttention
from corekit_ddpm_improved.unet import UNet

_BLOCK = {
    "in_layers.0": "norm_in",
    "in_layers.2": "conv_in",
    "emb_layers.1": "embed",
    "out_layers.0": "norm_out",
    "out_layers.3": "conv_out",
    "skip_connection": "skip",
}
_ATTENTION = {"norm": "norm", "qkv": "qkv", "proj_out": "out"}


def weights_of(
    net: nn.Module,
    theirs: Mapping[str, Tensor],
    *,
    legacy: bool = True,
    pairs: Iterable[tuple[str, str]] | None = None,
) -> dict[str, Tensor]:
    """The state dict of a U-Net, of one of theirs.

    Args:
        net: With the layout of theirs.
        theirs: Their state dict.
        legacy: Whether their queries, keys and values lie head by head, as in improved-diffusion
            and in guided-diffusion without ``use_new_attention_order``.
        pairs: Names of layers, ours and theirs, where the network is no `UNet`.

    Raises:
        UsageError: If a name is missing, superfluous, or of another shape.
    """
    found, wanted, used = {}, net.state_dict(), set()
    for ours, name in names(net) if pairs is None else pairs:  # type: ignore[arg-type]
        for what in ("weight", "bias"):
            key, own = f"{name}.{what}", f"{ours}.{what}"
            if own not in wanted:
                continue
            if key not in theirs:
                raise UsageError(f"UNet: the weights must hold {key}, got none of that name.")
            value = theirs[key]
            if name.endswith("qkv") and legacy:
                attention: Any = net.get_submodule(ours.rpartition(".")[0])
                value = _by_kind(value, attention.heads)
            if value.numel() != wanted[own].numel():
                raise UsageError(
                    f"UNet: {key} must have the shape {tuple(wanted[own].shape)}, got "
                    f"{tuple(value.shape)}. Channels, multipliers or heads differ."
                )
            found[own] = value.reshape(wanted[own].shape)
            used.add(key)
    left = sorted(set(theirs) - used)
    if left:
        raise UsageError(
            f"UNet: all weights must have a place, got {len(left)} without one: "
            f"{', '.join(left[:4])}. Blocks, attention or classes differ."
        )
    return found


def options_of(theirs: Mapping[str, Tensor], channels: int = 3) -> dict[str, Any]:
    """The options of the U-Net that has these weights; also whether it sees an image.

    What shapes do not tell is left out: heads, dropout, and what the network is told of the time.

    Args:
        theirs: Their state dict.
        channels: Of the data.

    Returns:
        Options of `UNet`, and ``image``: the channels of the image that it sees, 0 if none.

    Raises:
        UsageError: If these are not the weights of such a network.
    """
    needed = ("time_embed.0.weight", "input_blocks.0.0.weight", "out.2.weight")
    missing = [key for key in needed if key not in theirs]
    if missing:
        raise UsageError(
            f"UNet: weights of improved-diffusion must hold {missing[0]}, got {len(theirs)} others."
        )
    width, stem = theirs[needed[0]].shape[1], theirs[needed[1]]
    blocks, grids, resample = _grids(theirs)
    first = [f"input_blocks.{1 + level * (blocks + 1)}" for level in range(grids)]
    wide = [theirs[f"{name}.0.out_layers.3.weight"].shape[0] for name in first]
    out, embed = theirs["out.2.weight"].shape[0], theirs[f"{first[0]}.0.emb_layers.1.weight"]
    if out not in (channels, 2 * channels) or stem.shape[1] < channels:
        raise UsageError(
            f"UNet: weights for data of {channels} channels must have as many outputs, or twice "
            f"that, got {out} outputs and {stem.shape[1]} inputs. Give the channels of the data."
        )
    label = theirs.get("label_emb.weight")
    return {
        "channels": width,
        "multipliers": tuple(w / width for w in wide),
        "blocks": blocks,
        "attention": tuple(2**i for i, n in enumerate(first) if f"{n}.1.norm.weight" in theirs),
        "scale_shift": embed.shape[0] == 2 * wide[0],
        "resample": resample,
        "classes": None if label is None else len(label),
        "variance": "range" if out == 2 * channels else "fixed",
        "image": stem.shape[1] - channels,
    }


def _grids(theirs: Mapping[str, Tensor]) -> tuple[int, int, str]:
    """Residual blocks per grid, grids, and how they change."""
    stages = _count(theirs, "output_blocks")
    coarser = [i for i in range(stages) if f"input_blocks.{i}.0.op.weight" in theirs]
    finer = [
        i
        for i in range(stages)
        if any(f"output_blocks.{i}.{at}.in_layers.0.weight" in theirs for at in (1, 2))
    ]
    empty = [
        i for i in range(1, stages) if not any(k.startswith(f"input_blocks.{i}.") for k in theirs)
    ]
    if coarser:
        blocks, resample = coarser[0] - 1, "convolution"
    elif finer:
        blocks, resample = finer[0], "blocks"
    elif empty:
        blocks, resample = empty[0] - 1, "average"
    else:
        blocks, resample = stages - 1, "convolution"
    return blocks, stages // (blocks + 1), resample


def _count(theirs: Mapping[str, Tensor], part: str) -> int:
    return 1 + max(int(key.split(".")[1]) for key in theirs if key.startswith(f"{part}."))


def names(net: UNet) -> Iterator[tuple[str, str]]:
    """Pairs of names of layers, ours and theirs."""
    yield "embedding.hidden", "time_embed.0"
    yield "embedding.out", "time_embed.2"
    if net.embedding.label is not None:
        yield "embedding.label", "label_emb"
    yield "stem", "input_blocks.0.0"
    for i in range(len(net.down)):
        yield from stage_names(net, f"down.{i}", f"input_blocks.{i + 1}", at=0)
    yield from stage_names(net, "middle.0", "middle_block", at=0)
    yield from stage_names(net, "middle.1", "middle_block", at=2)
    for i in range(len(net.up)):
        yield from stage_names(net, f"up.{i}", f"output_blocks.{i}", at=0)
    yield "norm", "out.0"
    yield "head", "out.2"


def stage_names(net: nn.Module, ours: str, theirs: str, *, at: int) -> Iterator[tuple[str, str]]:
    """Pairs of names of the layers of one stage; ``at`` is the first of its parts."""
    for part in ("block", "attention", "resample"):
        layer = getattr(net.get_submodule(ours), part)
        if layer is None:
            continue
        for own, other in _layers(layer):
            yield f"{ours}.{part}.{own}", f"{theirs}.{at}.{other}"
        at += 1


def _layers(layer: ResBlock | SelfAttention | Resampling) -> Iterator[tuple[str, str]]:
    if isinstance(layer, Resampling):
        if layer.conv is not None:
            yield "conv", "op" if layer.way == "down" else "conv"
        return
    pairs = _BLOCK if isinstance(layer, ResBlock) else _ATTENTION
    yield from ((own, other) for other, own in pairs.items())


def _by_kind(value: Tensor, heads: int) -> Tensor:
    """Rows head by head, each q, k, v, as all q, all k, all v."""
    return torch.cat(value.unflatten(0, (heads, 3, -1)).unbind(1)).flatten(0, 1)
