"""What can be checked beyond single values, still without torch: shapes and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from corekit.errors import DataError, Path, Position, ShapeError, SpecError, SpecProblem
from corekit.spec.base import Section, Spec, place
from corekit.spec.load import LoadedSpec
from corekit.spec.run import RunSpec


def check_spec(loaded: LoadedSpec | RunSpec) -> None:
    """Walk the shapes from the data through the model, and look for the files that are named.

    Raises:
        SpecError: two parts do not fit (exit code 3) or a data file is missing (5)
    """
    if isinstance(loaded, RunSpec):
        spec, positions = loaded, dict[Path, Position]()
    else:
        spec, positions = loaded.spec, dict(loaded.positions)
    problems = [*_shapes(spec, positions), *_files(spec, positions)]
    if problems:
        raise SpecError(*problems)


def _shapes(spec: RunSpec, positions: Mapping[Path, Position]) -> Iterator[SpecProblem]:
    try:
        data = spec.data.data_spec()
        if data is not None:
            with place("model", given_by="data"):
                spec.model.shape(data=data)
    except ShapeError as error:
        source = error.given_by
        yield SpecProblem(
            error.message,
            error.path,
            _nearest(error.path, positions),
            code="shape",
            given_by=source,
            given_at=_nearest(source, positions) if source is not None else None,
        )


def _files(spec: RunSpec, positions: Mapping[Path, Position]) -> Iterator[SpecProblem]:
    for path, part in _components(spec, ()):
        try:
            part.check()
        except DataError as error:
            at = _nearest((*path, "path"), positions)
            yield SpecProblem(str(error), path, at, code="data", exit_code=error.exit_code)


def _components(value: Any, path: Path) -> Iterator[tuple[Path, Spec]]:
    """Every component of a spec, with its path."""
    if isinstance(value, Spec):
        yield path, value
    if isinstance(value, Section):
        for name in type(value).model_fields:
            yield from _components(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _components(item, (*path, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _components(item, (*path, index))


def _nearest(path: Path, positions: Mapping[Path, Position]) -> Position | None:
    """Where a value stands, or else what it is part of: a default was not written anywhere."""
    while path and path not in positions:
        path = path[:-1]
    return positions.get(path)
