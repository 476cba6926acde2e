"""The range that data lie in, and what keeps predictions there while samples are made."""

from functools import partial
from typing import Any, Literal

from corekit.data_spec import DataSpec, Support
from corekit.diffusion.predicting import dynamically_thresholded, thresholded
from corekit.errors import UsageError

Clip = Literal["auto", "static", "dynamic"]
"""Cut what leaves the range off (`thresholded`), or shrink it (`dynamically_thresholded`).

"auto" cuts it off where the data have a range, and does nothing elsewhere.
"""


def clipping(who: str, clip: Clip | None, data: DataSpec | None) -> Any:
    """The wrapper of predict that keeps x_0 in the range of the data; None if there is none.

    Raises:
        UsageError: If it is asked for by name and the data have no range, or are standardised: no
            number bounds them then.
    """
    bounds = None if data is None or data.mean is not None else range_of(data)
    if clip is None or (clip == "auto" and bounds is None):
        return None
    if bounds is None:
        raise UsageError(
            f"{who}: clip must meet data of a known range (pixels, levels, [-1, 1]), got data "
            "without one, or standardised. Leave clip out."
        )
    low, high = bounds
    wrapper = dynamically_thresholded if clip == "dynamic" else thresholded
    return partial(wrapper, low=low, high=high)


def range_of(data: DataSpec) -> tuple[float, float] | None:
    """Lowest and highest value of data, if they have any."""
    if data.support is Support.UNIT_INTERVAL:
        return 0.0, 1.0
    if data.support is Support.SYMMETRIC_INTERVAL:
        return -1.0, 1.0
    if data.levels is None or data.bin_width is None or data.lowest is None:
        return None
    return data.lowest, data.lowest + data.bin_width * (data.levels - 1)
