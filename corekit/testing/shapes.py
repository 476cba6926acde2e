"""The shapes that parts of a kind are built with, unless they name their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corekit.data_spec import DataSpec

SHAPES: dict[str, tuple[tuple[Mapping[str, Any], ...], ...]] = {
    "bijector": (
        ({"event_shape": (5,)}, {"event_shape": (4,)}),
        (
            {"event_shape": (5,), "context_shape": (3,)},
            {"event_shape": (4,), "context_shape": (3,)},
        ),
        ({"event_shape": (3, 4, 6)}, {"event_shape": (4, 4, 4)}),
    ),
    "denoiser": tuple(
        tuple(
            {"event_shape": shape, "condition_shapes": conditions, "out_channels": None}
            for shape in shapes
        )
        for shapes in (((5,), (8,)), ((7, 3), (16, 3)), ((3, 8, 8), (3, 16, 16)))
        for conditions in ({}, {"vector": (4,)})
    ),
    "encoder": tuple(({"event_shape": shape},) for shape in ((5,), (7, 3), (3, 8, 8))),
    "likelihood": tuple(({"event_shape": shape},) for shape in ((5,), (2, 3, 4))),
    "posterior": (
        ({"feature_shape": (5,), "latent_shape": (3,)},),
        ({"feature_shape": (4, 2, 2), "latent_shape": (3, 2, 2)},),
    ),
    "network": tuple(
        tuple({"in_shape": a, "out_shape": b, "context_shape": context} for a, b in shapes)
        for shapes in (
            (((5,), (2, 4)), ((5,), (2, 5))),
            (((3, 4, 6), (2, 3, 4, 6)), ((3, 5, 5), (2, 3, 5, 5))),
        )
        for context in (None, (3,))
    ),
    "stochastic": tuple(
        (
            {
                "data": DataSpec(shape, levels=levels, bin_width=0.5, lowest=-1.0),
                "context_shape": context,
            },
        )
        for shape, levels in (((5,), 7), ((2, 4, 4), 256))
        for context in (None, (3,))
    ),
    "quantizer": tuple(({"latent_shape": shape},) for shape in ((4, 3, 2), (4,))),
    "prior": (
        *(({"event_shape": shape, "condition": None},) for shape in ((3,), (7, 3), (3, 8, 8))),
        ({"event_shape": (3,), "condition": {"vector": (4,)}},),
    ),
    "model": tuple(({"data": DataSpec(shape)},) for shape in ((3,), (7, 3), (3, 8, 8))),
    "decoder": tuple(
        ({"event_shape": shape, "latent_shape": (4,)},) for shape in ((3,), (7, 3), (3, 8, 8))
    ),
}
"""kind -> lines; of each line the first that the part accepts is a case."""
