"""A picture of what a run logged: one panel for the loss, one for each of its terms.

Drawn by Pillow in hundredths of a second, since a run redraws it while it trains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

_COLOURS = {"train": "#265ca8", "val": "#c8551b"}
_INK, _FAINT = "#3c4048", "#c9ccd3"
_COLUMNS, _PANELS = 4, 16
_WIDTH, _HEIGHT = 320, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 30, 24  # room around the curves, in pixels
_OTHERS = {"step", "lr", "steps_per_s"}

Line = tuple[list[int], list[float]]
"""Steps and values."""

Series = dict[str, dict[str, Line]]
"""Name of a value -> split -> its line."""


def save_curves(records: Iterable[Mapping[str, Any]], path: Path) -> Path | None:
    """Draw loss, terms and gradient norm over the steps, and save a PNG.

    A panel says its lowest and highest value. Values that are not finite are left out. Where all
    are positive and span more than a factor of 20, the axis is logarithmic.

    Args:
        records: The lines of ``metrics.jsonl``.
        path: Where to save.

    Returns:
        The path; None if there is nothing to draw.
    """
    series, units = read_series(records)
    names = [name for name, lines in series.items() if lines][:_PANELS]
    if not names:
        return None
    columns, rows = min(len(names), _COLUMNS), math.ceil(len(names) / _COLUMNS)
    picture = Image.new("RGB", (columns * _WIDTH, rows * _HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for i, name in enumerate(names):
        corner = (i % _COLUMNS) * _WIDTH, (i // _COLUMNS) * _HEIGHT
        title = f"{name} ({units[name]})" if name in units else name
        _panel(draw, font, corner, title, series[name])
    partial = path.with_name(f".{path.name}.partial")
    picture.save(partial, format="PNG")
    partial.replace(path)
    return path


def read_series(records: Iterable[Mapping[str, Any]]) -> tuple[Series, dict[str, str]]:
    """Finite values by name and split, the loss first and the gradient norm last; their units."""
    series: Series = {"loss": {}}
    units: dict[str, str] = {}
    for record in records:
        units |= record.get("units", {})
        for name, value in record.items():
            if isinstance(value, float) and math.isfinite(value) and name not in _OTHERS:
                steps, values = series.setdefault(name, {}).setdefault(record["split"], ([], []))
                steps.append(record["step"])
                values.append(value)
    norms = series.pop("grad_norm", {})
    return {**series, "grad_norm": norms}, units


def _panel(
    draw: ImageDraw.ImageDraw,
    font: Any,
    corner: tuple[int, int],
    title: str,
    lines: dict[str, Line],
) -> None:
    """One set of axes with its lines."""
    x0, y0 = corner[0] + _LEFT, corner[1] + _TOP
    x1, y1 = corner[0] + _WIDTH - _RIGHT, corner[1] + _HEIGHT - _BOTTOM
    every = [value for _, values in lines.values() for value in values]
    low, high = min(every), max(every)
    logarithmic = low > 0 and high > 20 * low
    steps = [step for line, _ in lines.values() for step in line]
    across = _scale(min(steps), max(steps), x0, x1)
    ends = (math.log(low), math.log(high)) if logarithmic else (low, high)
    up = _scale(ends[0], ends[1], y1, y0)
    draw.rectangle((x0, y0, x1, y1), outline=_FAINT)
    draw.text((x0, y0 - 18), title[:36] + (" log" if logarithmic else ""), _INK, font)
    for value, y in ((high, y0), (low, y1 - 12)):
        draw.text((x0 - 5, y), f"{value:.3g}", _INK, font, anchor="ra")
    draw.text((x0, y1 + 5), str(min(steps)), _INK, font)
    draw.text((x1, y1 + 5), str(max(steps)), _INK, font, anchor="ra")
    for i, (split, (at, values)) in enumerate(lines.items()):
        heights = [math.log(v) if logarithmic else v for v in values]
        points = [(across(step), up(height)) for step, height in zip(at, heights, strict=True)]
        colour = _COLOURS.get(split, _INK)
        _line(draw, points, colour)
        if len(lines) > 1:
            draw.text((x1 - 36 * i, y0 - 18), split, colour, font, anchor="ra")


def _line(draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str) -> None:
    draw.line(list(points), fill=colour, width=1)
    if len(points) < 3:  # a line of one point is not seen
        for x, y in points:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)


def _scale(low: float, high: float, start: float, end: float) -> Any:
    """Values to pixels; one value alone is in the middle."""
    if high == low:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)
