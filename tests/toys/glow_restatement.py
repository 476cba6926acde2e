"""Glow written out as formulas of the tensors of a state dict; nothing of the package is used."""

import math

import torch
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

MOST, FLOOR = 7.0, 1e-3


def glow(state, x, context=None, *, levels, steps):
    """z ``(B, D)``, log|det|, and h, the deepest latent before its mean and deviation leave."""
    left, logdet, place = [], x.new_zeros(len(x)), ""
    for level in range(levels):
        x = pixel_unshuffle(x, 2)
        for i in range(1, steps + 1):
            x, added = _step(state, f"{place}members.{i}.members.", x)
            logdet = logdet + added
        last = f"{place}members.{steps + 1}."
        if level == levels - 1:
            break
        x, out = x.chunk(2, dim=1)
        mean, log_std = _zero_conv(state, f"{last}net.conv.", x).chunk(2, dim=1)
        log_std = MOST * torch.tanh(log_std / MOST)
        left.append(((out - mean) / log_std.exp()).flatten(1))
        logdet = logdet - log_std.flatten(1).sum(1)
        place = f"{last}of."
    h, (mean, log_std) = x, _top(state, last, context)
    z = (h - mean[:, :, None, None]) / log_std.exp()[:, :, None, None]
    logdet = logdet - math.prod(h.shape[2:]) * log_std.sum(1)
    return torch.cat([*left, z.flatten(1)], dim=1), logdet, h


def back(state, z, shape, context=None, *, levels, steps):
    """x of z."""
    places = [f"members.{steps + 1}.of." * level for level in range(levels)]
    channels, height, width = shape
    sizes = []
    for level in range(levels):
        channels, height, width = 4 * channels, height // 2, width // 2
        leaving = channels if level == levels - 1 else channels // 2
        sizes.append((leaving, height, width))
        channels -= leaving if level < levels - 1 else 0
    parts = z.split([math.prod(size) for size in sizes], dim=1)
    parts = [part.reshape(len(z), *size) for part, size in zip(parts, sizes, strict=True)]
    mean, log_std = _top(state, f"{places[-1]}members.{steps + 1}.", context)
    x = mean[:, :, None, None] + parts[-1] * log_std.exp()[:, :, None, None]
    for level in reversed(range(levels)):
        if level < levels - 1:
            name = f"{places[level]}members.{steps + 1}.net.conv."
            mean, log_std = _zero_conv(state, name, x).chunk(2, dim=1)
            scale = (MOST * torch.tanh(log_std / MOST)).exp()
            x = torch.cat((x, mean + parts[level] * scale), dim=1)
        for i in reversed(range(1, steps + 1)):
            x = _step_back(state, f"{places[level]}members.{i}.members.", x)
        x = pixel_shuffle(x, 2)
    return x


def labels_from(state, h):
    """Logits of the class head: the mean over positions, a linear map, a scale."""
    mean = h.sum((2, 3)) / math.prod(h.shape[2:])
    return (mean @ state["head.weight"].T + state["head.bias"]) * (3 * state["head.logs"]).exp()


def _step(state, at, x):
    shift, log_scale = state[f"{at}0.shift"], state[f"{at}0.log_scale"]
    x = ((x + shift) * log_scale.exp())[:, state[f"{at}1.order"]]
    kept, moved = x.chunk(2, dim=1)
    scale, shift = _scale_and_shift(state, at, kept)
    logdet = scale.log().flatten(1).sum(1) + log_scale.sum() * math.prod(x.shape[2:])
    return torch.cat((kept, (moved + shift) * scale), dim=1), logdet


def _step_back(state, at, z):
    kept, moved = z.chunk(2, dim=1)
    scale, shift = _scale_and_shift(state, at, kept)
    x = torch.cat((kept, moved / scale - shift), dim=1)
    order = state[f"{at}1.order"].tolist()
    x = x[:, [order.index(i) for i in range(len(order))]]
    return x / state[f"{at}0.log_scale"].exp() - state[f"{at}0.shift"]


def _scale_and_shift(state, at, kept):
    h = kept
    for name, padding in (("first", 1), ("second", 0)):
        part = f"{at}2.net.{name}."
        h = conv2d(h, state[f"{part}weight"], padding=padding)
        h = ((h + state[f"{part}norm.shift"]) * state[f"{part}norm.log_scale"].exp()).clamp(min=0)
    raw, shift = _zero_conv(state, f"{at}2.net.last.", h).chunk(2, dim=1)
    return FLOOR + (1 - FLOOR) / (1 + (-raw - 2).exp()), shift


def _zero_conv(state, at, x):
    y = conv2d(x, state[f"{at}weight"], state[f"{at}bias"], padding=1)
    return y * (3 * state[f"{at}logs"]).exp()[:, None, None]


def _top(state, at, context):
    """Mean and log-deviation of each channel: a learned one, and the projection of the labels."""
    found = (state[f"{at}bias"] * (3 * state[f"{at}logs"]).exp())[None]
    if context is not None:
        given = context @ state[f"{at}weight"].T + state[f"{at}context_bias"]
        found = found + given * (3 * state[f"{at}context_logs"]).exp()
    mean, log_std = found.chunk(2, dim=1)
    return mean, MOST * torch.tanh(log_std / MOST)
