"""Planted bugs: parts with one mistake each, and the check that must find it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from corekit.testing import Conformance

KINDS = (
    "bijector",
    "univariate",
    "network",
    "stochastic",
    "posterior",
    "encoder",
    "prior",
    "decoder",
    "loss",
    "dataset",
    "callback",
    "metric",
    "model",
    "noise_schedule",
    "timestep_sampler",
    "sampler",
    "denoiser",
    "denoising_loss",
)


@dataclass(frozen=True)
class Tooth:
    """One planted bug.

    Args:
        kind: Kind of the part.
        bug: What is wrong with it, as a table says it.
        part: What a build would call.
        caught_by: The check that must fail; others may fail as well.
        how: As for `check_component`.
    """

    kind: str
    bug: str
    part: Callable[..., Any]
    caught_by: str
    how: Conformance = field(default_factory=Conformance)


def every_tooth() -> list[Tooth]:
    """The planted bugs of all kinds."""
    return [tooth for kind in KINDS for tooth in import_module(f"teeth.{kind}").TEETH]


def every_right_part() -> list[tuple[str, Callable[..., Any]]]:
    """The parts without a bug that the planted ones are made from."""
    return [(kind, part) for kind in KINDS for part in import_module(f"teeth.{kind}").RIGHT]
