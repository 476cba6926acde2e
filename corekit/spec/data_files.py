"""Specs of the data sets in core that read files."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field, field_validator

from corekit.data_spec import DataSpec, pixel_spec
from corekit.errors import DataError
from corekit.spec.base import Spec

_ADVICE = "Give the path from the current directory, or --set data.path=PATH."

_STANDARDIZE = (
    "let the model compute with data of mean 0 and standard deviation 1, by the training rows; it "
    "takes and gives them as they are"
)


class _FileSpec(Spec):
    """What all data sets of files have."""

    path: str = Field(description="the file or folder, relative to the current directory")
    held_out: float = Field(
        0.1,
        ge=0,
        lt=0.5,
        description="share of the examples in val, and in test, where the data do not say",
    )
    source: str | None = Field(None, description="where the data come from, for the record")
    licence: str | None = Field(None, description="their licence, for the record")

    def check(self) -> None:
        """The path is there."""
        if not os.path.exists(self.path):
            raise DataError(
                f"{self.type}: path must name a file or a folder, got '{self.path}' "
                f"(looked in {os.getcwd()}). {_ADVICE}"
            )


_BITS = "how many of 8 bits are kept, the highest ones"


def _low_then_high(value: tuple[float, float] | str) -> tuple[float, float] | str:
    if not isinstance(value, str) and not value[0] < value[1]:
        raise ValueError(f"value_range must be low, then high, got {list(value)}")
    return value


class ImageFolderSpec(_FileSpec):
    """Image files in a folder and its sub-folders, resized and cropped to one size."""

    type: Literal["image_folder"] = "image_folder"
    size: int | None = Field(
        None, ge=1, description="height and width of an example; null leaves images as they are"
    )
    channels: Literal[1, 3, 4] = Field(3, description="1 grey, 3 RGB, 4 RGB and alpha")
    labels: Literal["folder", "prefix"] | None = Field(
        None, description="where the class is: the first folder, or the file name up to a '_'"
    )
    flip: bool = Field(False, description="mirror half of the training images")
    value_range: tuple[float, float] = Field(
        (-1.0, 1.0), description="what 8-bit levels 0 and 255 become"
    )
    bits: int = Field(8, ge=1, le=8, description=_BITS)

    _ordered = field_validator("value_range")(_low_then_high)

    def data_spec(self) -> DataSpec | None:
        """Images (channels, size, size)."""
        if self.size is None:
            return None
        conditions = {"labels": ()} if self.labels else {}
        shape = (self.channels, self.size, self.size)
        return pixel_spec(shape, self.value_range, condition_shapes=conditions, bits=self.bits)


class ArraysSpec(_FileSpec):
    """Rows of an array of an .npz, .npy or .h5 file, of any shape."""

    type: Literal["arrays"] = "arrays"
    array: str | None = Field(
        None, description="name of the data; x, data, images, … or the only array if null"
    )
    labels: str | None = Field(None, description="name of the array of class numbers")
    vector: str | None = Field(
        None, description="name of an array (N, C) that becomes the condition 'vector'"
    )
    split: str | None = Field(
        None, description="name of an array that says 0 (train), 1 (val), 2 (test) of each row"
    )
    groups: str | None = Field(
        None,
        description="name of an array with each row's group, where `split` says it of each group",
    )
    layout: Literal["auto", "as_stored", "channels_last", "channels_first", "grey"] = Field(
        "auto", description="where the channels of images are; auto takes 8-bit integers for images"
    )
    value_range: tuple[float, float] | Literal["auto", "as_stored"] = Field(
        "auto", description="what 8-bit levels 0 and 255 become; auto is [-1, 1] for 8-bit integers"
    )
    bits: int = Field(8, ge=1, le=8, description=_BITS)
    flip: bool = Field(False, description="mirror half of the training images")
    standardize: bool = Field(False, description=_STANDARDIZE)
    cache_bytes: int = Field(
        256 * 2**20, ge=0, description="most memory to keep what was read in, per process"
    )

    _ordered = field_validator("value_range")(_low_then_high)


class IdxSpec(_FileSpec):
    """Images of idx files, in which MNIST and its relatives come."""

    type: Literal["idx"] = "idx"
    labels: bool = Field(False, description="hand on the labels")
    value_range: tuple[float, float] = Field(
        (-1.0, 1.0), description="what 8-bit levels 0 and 255 become"
    )
    bits: int = Field(8, ge=1, le=8, description=_BITS)

    _ordered = field_validator("value_range")(_low_then_high)


class CsvSpec(_FileSpec):
    """Columns of numbers of a text file."""

    type: Literal["csv"] = "csv"
    columns: tuple[str, ...] | None = Field(
        None, min_length=1, description="columns of an example; all that hold numbers if null"
    )
    labels: str | None = Field(None, description="the column of classes")
    standardize: bool = Field(False, description=_STANDARDIZE)
