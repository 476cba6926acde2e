"""Groups of parameters by pattern, each with options of its own."""

import difflib
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from corekit.errors import UsageError
from corekit.spec.train import GroupSpec

_LISTED = 8  # names in an error


def grouped(
    model: nn.Module, groups: Sequence[GroupSpec], own: Collection[str] | None = None
) -> list[Any]:
    """The parameters of a model as an optimizer takes them; frozen ones are left out.

    A parameter belongs to the first group whose pattern matches its name; those that none matches
    come first, with the optimizer's own options. Without groups it is the list of parameters.

    Args:
        model: Unwrapped, so that its names are those of the spec's parts.
        groups: The section ``train.groups`` of a spec. Frozen parameters stop asking for gradients.
        own: Names of the parameters that are wanted; None are all.

    Returns:
        Nothing if all of these are frozen.

    Raises:
        UsageError: If a pattern matches nothing.
    """
    if not groups:
        return [p for name, p in model.named_parameters() if p.requires_grad and _in(name, own)]
    members: list[list[nn.Parameter]] = [[] for _ in groups]
    rest: list[nn.Parameter] = []
    matched = [False] * len(groups)
    for name, parameter in model.named_parameters():
        fits = [fnmatchcase(name, group.match) for group in groups]
        matched = [a or b for a, b in zip(matched, fits, strict=True)]
        if parameter.requires_grad and _in(name, own):
            (members[fits.index(True)] if True in fits else rest).append(parameter)
    for i, (group, found) in enumerate(zip(groups, matched, strict=True)):
        if not found:
            names = [name for name, _ in model.named_parameters()]
            raise UsageError(unmatched(f"train.groups[{i}].match", group.match, names))
    made: list[dict[str, Any]] = [{"params": rest}] if rest else []
    for group, parameters in zip(groups, members, strict=True):
        if group.freeze:
            for parameter in parameters:
                parameter.requires_grad_(False)
        elif parameters:
            made.append({"params": parameters, **group.options()})
    return made


def _in(name: str, own: Collection[str] | None) -> bool:
    return own is None or name in own


def unmatched(where: str, pattern: str, names: list[str]) -> str:
    """What the pattern may have meant: names of parameters, and of the parts that hold them."""
    parts = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, 9)}
    near = difflib.get_close_matches(pattern.rstrip("*."), sorted(parts), 3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    more = ", …" if len(names) > _LISTED else ""
    return (
        f"{where}: must match the name of a parameter, got '{pattern}'.{hint} "
        f"Names: {', '.join(names[:_LISTED])}{more}."
    )
