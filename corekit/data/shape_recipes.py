"""How to build an aeroplane, a chair, a table, a rocket: factors in, solids out. y is up.

Each recipe gives its parts by name. Aeroplanes fly and chairs face along +x; left and right is z.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from corekit.data.solids import box, cylinder, rotate, tube, wing

Parts = dict[str, list[np.ndarray]]


class Factor(NamedTuple):
    """A number that shapes a shape: uniform in [low, high], or one of some choices."""

    name: str
    unit: str
    low: float
    high: float
    choices: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator) -> float:
        """A random value."""
        if self.choices:
            return float(self.choices[rng.integers(len(self.choices))])
        return float(rng.uniform(self.low, self.high))


class Recipe(NamedTuple):
    """What varies between the shapes of a category, and how one is built."""

    factors: tuple[Factor, ...]
    build: Callable[[Mapping[str, float]], Parts]


def _choice(name: str, unit: str, *choices: float) -> Factor:
    return Factor(name, unit, min(choices), max(choices), choices)


def _aeroplane(f: Mapping[str, float]) -> Parts:
    radius, half_span = f["fuselage_radius"], f["span"] / 2
    station = np.array([0, 0.015, 0.05, 0.12, 0.2, 0.6, 0.75, 0.9, 1.0])  # from nose to tail
    size = np.array([0.02, 0.3, 0.62, 0.92, 1, 1, 0.78, 0.4, 0.12])
    line = np.array([-0.2, -0.17, -0.1, 0, 0, 0, 0.15, 0.45, 0.6]) * radius  # the tail rises
    path = np.stack([0.5 - station, line, 0 * station], 1)
    parts: Parts = {"fuselage": [tube(path, size * radius)]}

    root_chord, sweep = f["root_chord"], np.tan(np.radians(f["sweep"]))
    rise = np.tan(np.radians(f["dihedral"]))
    x, y = 0.5 - f["wing_position"], f["wing_height"] * radius
    chords = (root_chord, root_chord * f["taper"])
    parts["wings"], parts["engines"] = [], []
    places = {0: (), 2: (0.34,), 4: (0.3, 0.58)}[int(f["engines"])]
    for side in (-1, 1):
        tip = (x - sweep * half_span, y + rise * half_span, side * half_span)
        parts["wings"].append(wing((x, y, 0), tip, chords, 0.12))
        for place in places:
            out = place * half_span
            chord = chords[0] + place * (chords[1] - chords[0])
            front = x - sweep * out + 0.3 * chord
            hang, engine = y + rise * out - 0.55 * radius, 0.42 * radius
            pod = np.array([[front - s, hang, side * out] for s in (0, 0.03, 0.09, 0.13)])
            parts["engines"].append(tube(pod, engine * np.array([0.85, 1, 0.9, 0.55]), sides=14))

    tail_x, top = -0.34, 0.55 * radius
    fin_tip = (tail_x - 0.75 * f["fin_height"], top + f["fin_height"], 0.0)
    parts["fin"] = [wing((tail_x, top, 0), fin_tip, (0.16, 0.09), 0.1)]
    height = f["tail_height"]
    base_x = tail_x - 0.02 - height * (0.75 * f["fin_height"] - 0.02)
    base_y = 0.4 * radius + height * (top + f["fin_height"] - 0.4 * radius)
    tail_half = f["tail_span"] / 2
    parts["tailplane"] = [
        wing(
            (base_x, base_y, 0),
            (base_x - 0.8 * sweep * tail_half, base_y, side * tail_half),
            (0.12, 0.12 * max(f["taper"], 0.4)),
            0.1,
        )
        for side in (-1, 1)
    ]
    return parts


def _legs(f: Mapping[str, float], length: float, depth: float, width: float) -> list[np.ndarray]:
    """Four legs at the corners, splayed outwards, or a column on a star of five feet."""
    thick = f["leg_width"]
    if f["legs"] == 1:
        column = cylinder((0, 0.08 * length, 0), (0, length, 0), 0.8 * thick)
        reach = 0.45 * max(depth, width)
        angles = 2 * np.pi * np.arange(5) / 5
        feet = [
            cylinder(
                (0, 0.13 * length, 0),
                (reach * np.cos(a), 0.03 * length, reach * np.sin(a)),
                0.7 * thick,
                0.5 * thick,
            )
            for a in angles
        ]
        return [column, *feet]
    out = length * np.tan(np.radians(f["leg_splay"]))
    x, z = depth / 2 - 0.7 * thick, width / 2 - 0.7 * thick
    return [
        cylinder(
            (i * x, length, j * z), (i * (x + out), 0, j * (z + out)), 0.6 * thick, 0.4 * thick
        )
        for i in (-1, 1)
        for j in (-1, 1)
    ]


def _chair(f: Mapping[str, float]) -> Parts:
    width, depth, height = f["seat_width"], f["seat_depth"], f["seat_height"]
    thick, back = f["seat_thickness"], f["back_height"]
    seat_top, rear, rim = height + thick / 2, -depth / 2, 0.035
    parts: Parts = {
        "seat": [box((0, height, 0), (depth, thick, width))],
        "legs": _legs(f, height - thick / 2, depth, width),
    }
    slats = int(f["back_slats"])
    x, middle = rear + rim / 2, seat_top + back / 2
    if slats:
        posts = [box((x, middle, s * (width - rim) / 2), (rim, back, rim)) for s in (-1, 1)]
        rails = np.linspace(0.25, 0.94, slats) * back + seat_top
        bars = [box((x, y, 0), (0.6 * rim, 0.5 * back / slats, width - rim)) for y in rails]
        pieces = [*posts, *bars]
    else:
        pieces = [box((x, middle, 0), (rim, back, width))]
    pivot = (rear, seat_top, 0.0)
    parts["back"] = [rotate(piece, f["back_tilt"], 2, pivot) for piece in pieces]
    parts["arms"] = []
    if f["arms"]:
        level = seat_top + 0.4 * min(back, 0.5)
        for side in (-1, 1):
            z = side * (width + rim) / 2
            parts["arms"] += [
                box((0, level, z), (depth, rim, 1.4 * rim)),
                box((0.8 * depth / 2, (level + height) / 2, z), (rim, level - height, rim)),
            ]
    return parts


def _table(f: Mapping[str, float]) -> Parts:
    width, depth, height, thick = f["width"], f["depth"], f["height"], f["thickness"]
    if f["round"]:
        across = min(width, 1.4 * depth)
        top = cylinder((0, height - thick, 0), (0, height, 0), across / 2)
        inner = across * 0.62  # legs stand below the round top
        legs = _legs(f, height - thick, inner, inner)
    else:
        top = box((0, height - thick / 2, 0), (depth, thick, width))
        legs = _legs(f, height - thick, 0.95 * depth, 0.95 * width)
    return {"top": [top], "legs": legs}


def _rocket(f: Mapping[str, float]) -> Parts:
    radius, nose = f["radius"], f["nose_length"]
    station = np.array([0, 0.02, 0.15, 0.4, 0.7, 1.0])  # of the nose, from its tip down
    levels = np.array([*(1 - nose * station), 0.06])
    path = np.stack([0 * levels, levels, 0 * levels], 1)
    parts: Parts = {
        "body": [tube(path, radius * np.array([*np.sqrt(station), 1]))],
        "nozzle": [cylinder((0, 0, 0), (0, 0.07, 0), 0.75 * radius, 0.4 * radius)],
    }
    fin = wing(
        (0, 0.7 * radius, 0),
        (-0.8 * f["fin_span"], radius + f["fin_span"], 0),
        (f["fin_chord"], 0.5 * f["fin_chord"]),
        0.08,
    )
    # a wing points along +x: stand it up, its leading edge at the height of the chord
    upright = rotate(fin, 90, 2) + np.array([0, 0.06 + f["fin_chord"], 0])
    count = int(f["fins"])
    parts["fins"] = [rotate(upright, 360 * i / count, 1) for i in range(count)]
    parts["boosters"] = []
    for i in range(int(f["boosters"])):
        angle = 2 * np.pi * (i + 0.5) / f["boosters"]
        x, z = 1.55 * radius * np.cos(angle), 1.55 * radius * np.sin(angle)
        levels = np.array([0.03, 0.06, 0.9, 0.95, 1]) * f["booster_length"]
        path = np.stack([0 * levels + x, levels, 0 * levels + z], 1)
        parts["boosters"].append(tube(path, 0.5 * radius * np.array([0.7, 1, 1, 0.75, 0.05]), 14))
    return parts


RECIPES: dict[str, Recipe] = {
    "aeroplane": Recipe(
        (
            Factor("fuselage_radius", "fuselage lengths", 0.045, 0.075),
            Factor("span", "fuselage lengths", 0.7, 1.3),
            Factor("root_chord", "fuselage lengths", 0.14, 0.28),
            Factor("taper", "tip chord / root chord", 0.25, 0.9),
            Factor("sweep", "degrees", 0, 40),
            Factor("dihedral", "degrees", 0, 8),
            Factor("wing_height", "fuselage radii", -0.7, 0.8),
            Factor("wing_position", "fuselage lengths behind the nose", 0.32, 0.44),
            Factor("tail_span", "fuselage lengths", 0.28, 0.45),
            Factor("fin_height", "fuselage lengths", 0.12, 0.22),
            _choice("tail_height", "0 on the fuselage, 1 on top of the fin", 0, 1),
            _choice("engines", "number under the wings", 0, 2, 4),
        ),
        _aeroplane,
    ),
    "chair": Recipe(
        (
            Factor("seat_width", "m", 0.4, 0.6),
            Factor("seat_depth", "m", 0.4, 0.55),
            Factor("seat_height", "m", 0.36, 0.52),
            Factor("seat_thickness", "m", 0.03, 0.1),
            Factor("back_height", "m", 0.3, 0.65),
            Factor("back_tilt", "degrees", 0, 18),
            Factor("leg_width", "m", 0.03, 0.06),
            Factor("leg_splay", "degrees", 0, 10),
            _choice("legs", "4 corners, or 1 column", 4, 1),
            _choice("back_slats", "number, 0 is a solid back", 0, 3, 4, 5),
            _choice("arms", "0 no, 1 yes", 0, 1),
        ),
        _chair,
    ),
    "table": Recipe(
        (
            Factor("width", "m", 0.8, 1.8),
            Factor("depth", "m", 0.6, 1.0),
            Factor("height", "m", 0.45, 0.8),
            Factor("thickness", "m", 0.02, 0.07),
            Factor("leg_width", "m", 0.05, 0.1),
            Factor("leg_splay", "degrees", 0, 8),
            _choice("legs", "4 corners, or 1 column", 4, 1),
            _choice("round", "0 no, 1 yes", 0, 1),
        ),
        _table,
    ),
    "rocket": Recipe(
        (
            Factor("radius", "rocket lengths", 0.05, 0.09),
            Factor("nose_length", "rocket lengths", 0.14, 0.3),
            Factor("fin_span", "rocket lengths", 0.06, 0.14),
            Factor("fin_chord", "rocket lengths", 0.12, 0.24),
            Factor("booster_length", "rocket lengths", 0.3, 0.5),
            _choice("fins", "number", 3, 4),
            _choice("boosters", "number", 0, 2, 4),
        ),
        _rocket,
    ),
}
