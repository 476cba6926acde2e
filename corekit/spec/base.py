"""The base class of every spec, and the way a shape mismatch learns where it happened."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType
from typing_extensions import Self

from corekit.errors import Path, ShapeError

_NATIVE_ERRORS = frozenset(get_args(ErrorType))


class Section(BaseModel):
    """A part of a spec: unknown keys are refused, values are finite and never change.

    An unknown key is reported with the nearest and all allowed ones, beside every other mistake.
    Neither `true` nor `"3"` is a number, although pydantic takes them for 1 and 3.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        details = _no_numbers(cls, value) if isinstance(value, Mapping) else []
        known = {detail["loc"] for detail in details}
        try:
            new = handler(value)
        except ValidationError as error:
            others = error.errors(include_url=False)
            details += [_explained(cls, other) for other in others if other["loc"] not in known]
        if details:
            raise ValidationError.from_exception_data(cls.__name__, details)
        return new


class Spec(Section):
    """The spec of one component: its constructor's keywords, with the same defaults.

    A subclass narrows `type` and describes every field, for the documentation::

        class ActNormSpec(Spec):
            type: Literal["glow.actnorm"] = "glow.actnorm"
            eps: float = Field(1e-6, gt=0, description="added to the standard deviation")

    It may define `shape`, in plain Python, so that shapes are checked without torch.
    """

    type: str = Field(description="name of the component")

    def shape(self, *args: Any, **given: Any) -> Any:
        """What the component makes of the shapes that it is built with; None is unknown.

        ==========  =====================================================  ============
        kind        given by keyword                                       returns
        ==========  =====================================================  ============
        model       `data: DataSpec`                                       None
        bijector    `event_shape, context_shape=None`                      latent shape
        network     `in_shape, out_shape, context_shape=None`              None
        encoder     `event_shape`                                          latent shape
        prior       `event_shape, condition=None`                          None
        decoder     `event_shape, latent_shape`                            None
        denoiser    `event_shape, condition_shapes, out_channels`          None
        ==========  =====================================================  ============

        Raises:
            ShapeError: the component cannot be built on these shapes
        """
        return None

    def data_spec(self) -> Any:
        """A data set's `DataSpec`, known without opening a file; None is unknown."""
        return None

    def check(self) -> None:
        """Look, cheaply, for what the spec names outside itself: does the file exist?

        Raises:
            DataError: something is missing
        """


@contextmanager
def place(*path: str | int, given_by: str | Path | None = None) -> Iterator[None]:
    """Say where a ShapeError raised in this block happened, and who gave the shape.

    Both names are seen from the spec that opens the block, so that the levels above it can put
    theirs in front.

    Example:
        >>> try:
        ...     with place("model"), place("prior", given_by="encoder"):
        ...         raise ShapeError("normal: features must be 256, got 128.")
        ... except ShapeError as error:
        ...     print(error)
        model.prior: normal: features must be 256, got 128. The shape is given by model.encoder.
    """
    try:
        yield
    except ShapeError as error:
        error.path = (*path, *error.path)
        if error.given_by is not None:  # a deeper level knew
            error.given_by = (*path, *error.given_by)
        elif given_by is not None:
            error.given_by = (given_by,) if isinstance(given_by, str) else given_by
        raise


def problem(code: str, message: str, **facts: Any) -> PydanticCustomError:
    """An error with our own words; `facts` may be `suggestions` and `exit_code`."""
    return PydanticCustomError(code, "{message}", {"message": message, **facts})


def _no_numbers(model: type[Section], value: Mapping[str, Any]) -> list[InitErrorDetails]:
    """An error for each true, false or text where a number is wanted, alone or in a list."""
    errors = []
    for key, wants in _number_fields(model).items():
        given = value.get(key)
        items = enumerate(given) if isinstance(given, (list, tuple)) else [(None, given)]
        for index, item in items:
            if isinstance(item, (bool, str)):
                place = (key,) if index is None else (key, index)
                kind: ErrorType = "int_type" if wants is int else "float_type"
                errors.append(InitErrorDetails(type=kind, loc=place, input=item))
    return errors


@cache
def _number_fields(model: type[Section]) -> dict[str, type]:
    """The fields that take an int or a float, or a list of them, and neither bool nor text."""
    wanted: dict[str, type] = {}
    for name, field in model.model_fields.items():
        members = set(_members(field.annotation))
        for number in (int, float):
            if number in members and not {bool, str} & members:
                wanted[name] = number
    return wanted


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a value, or an item of a list, may have; of literals, whether one is text."""
    if get_origin(annotation) is Literal:
        yield from (str for literal in get_args(annotation) if isinstance(literal, str))
        return
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        inner = inner[:1]
    if not inner:
        yield annotation
    for member in inner:
        yield from _members(member)


def _explained(model: type[Section], detail: Any) -> InitErrorDetails:
    """One error of pydantic's, in our words where it is an unknown key of `model` itself."""
    kind, location, context = detail["type"], detail["loc"], detail.get("ctx") or {}
    if kind == "extra_forbidden" and len(location) == 1:
        error: str | PydanticCustomError = _unknown_key(model, str(location[0]))
    elif kind in _NATIVE_ERRORS:
        error = kind
    else:
        error = problem(kind, detail["msg"], **{k: v for k, v in context.items() if k != "message"})
    explained = InitErrorDetails(type=error, loc=location, input=detail["input"])
    if isinstance(error, str) and context:
        explained["ctx"] = context
    return explained


def _unknown_key(model: type[Section], key: str) -> PydanticCustomError:
    allowed = list(model.model_fields)
    near = difflib.get_close_matches(key, allowed, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    message = f"unknown key {key!r}{hint} (allowed: {', '.join(allowed)})"
    return problem("unknown_key", message, suggestions=near)
