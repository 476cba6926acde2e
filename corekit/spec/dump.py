"""Write a spec as YAML that `load_spec` reads back to the same spec."""

from __future__ import annotations

from typing import Any

import yaml

from corekit.spec.base import Section
from corekit.spec.yaml12 import Dumper


def dump_yaml(spec: Section) -> str:
    """The spec with every default filled in.

    Example:
        >>> from corekit.spec.train import AdamSpec
        >>> print(dump_yaml(AdamSpec(lr=2e-4)), end="")
        type: adam
        lr: 0.0002
        betas: [0.9, 0.999]
        eps: 1.0e-08
        weight_decay: 0.0
    """
    return dump_value(spec.model_dump(mode="json"))


def dump_value(value: Any, *, one_line: bool = False) -> str:
    """Plain data as YAML 1.2; the innermost lists and mappings on one line, or all of it."""
    text = yaml.dump(
        value,
        Dumper=Dumper,
        sort_keys=False,
        default_flow_style=True if one_line else None,
        allow_unicode=True,
        width=10_000 if one_line else 100,
    )
    return str(text).removesuffix("...\n")
