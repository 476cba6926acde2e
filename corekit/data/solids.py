"""Solids as triangles, all of them lofts (polygons joined one to the next); surface points."""

from __future__ import annotations

import numpy as np

Vector = tuple[float, float, float]


def loft(sections: np.ndarray) -> np.ndarray:
    """The surface through closed polygons, one after another, with the two ends capped.

    Shape: sections ``(S, K, 3)``, K corners each -> triangles ``(2 K S, 3, 3)``
    """
    a, b = sections[:-1], sections[1:]
    a_next, b_next = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    sides = [np.stack([a, b, a_next], 2), np.stack([b, b_next, a_next], 2)]
    for end in (sections[0], sections[-1, ::-1]):  # turned alike: the surface has an outside
        middle = np.broadcast_to(end.mean(0), end.shape)
        sides.append(np.stack([middle, end, np.roll(end, -1, axis=0)], 1))
    return np.concatenate([part.reshape(-1, 3, 3) for part in sides])


def box(centre: Vector, size: Vector) -> np.ndarray:
    """A box with edges along the axes."""
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) / 2
    sections = np.zeros((2, 4, 3))
    sections[:, :, [0, 2]] = corners
    sections[0, :, 1], sections[1, :, 1] = -0.5, 0.5
    return loft(sections * size + np.asarray(centre))


def tube(path: np.ndarray, radii: np.ndarray, sides: int = 20) -> np.ndarray:
    """Circles about a path, square to the line from its first to its last point.

    Two points make a cylinder or a cone, more a fuselage or an ellipsoid.

    Shape: path ``(S, 3)``, radii ``(S,)``
    """
    axis = path[-1] - path[0]
    axis = axis / np.linalg.norm(axis)
    other = np.eye(3)[np.abs(axis).argmin()]  # any direction that is not along the axis
    u = np.cross(axis, other)
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    angle = np.arange(sides) * (2 * np.pi / sides)
    circle = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v  # (K, 3)
    return loft(path[:, None] + radii[:, None, None] * circle)


def cylinder(
    start: Vector, end: Vector, radius: float, end_radius: float | None = None
) -> np.ndarray:
    """A cylinder between two points; with another radius at the end, a (cut) cone."""
    radii = np.array([radius, radius if end_radius is None else end_radius])
    return tube(np.array([start, end]), radii)


def wing(root: Vector, tip: Vector, chords: tuple[float, float], thickness: float) -> np.ndarray:
    """A tapered wing between two leading edges, its chord along -x.

    Args:
        root: Leading edge where the wing begins.
        tip: Leading edge where it ends.
        chords: Depth at the root and at the tip.
        thickness: Of the profile, as a share of the chord.
    """
    outline = np.array([0.0, 0.05, 0.25, 0.6, 1.0])  # along the chord, from the leading edge
    half = np.array([0.0, 0.6, 1.0, 0.6, 0.1]) / 2
    profile = np.stack(  # there along the upper side, back along the lower
        [np.concatenate([-outline, -outline[:0:-1]]), np.concatenate([half, -half[:0:-1]])], 1
    )
    edges = np.array([root, tip])
    span = edges[1] - edges[0]
    normal = np.array([0.0, -span[2], span[1]])  # square to the span and to x
    normal /= np.linalg.norm(normal)
    section = profile[:, :1] * np.array([1.0, 0, 0]) + thickness * profile[:, 1:] * normal  # (K, 3)
    return loft(edges[:, None] + np.array(chords)[:, None, None] * section)


def rotate(
    triangles: np.ndarray, degrees: float, axis: int, about: Vector = (0, 0, 0)
) -> np.ndarray:
    """Triangles turned about an axis through a point, right-handed."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    turned: np.ndarray = (triangles - about) @ matrix.T + about
    return turned


def areas(triangles: np.ndarray) -> np.ndarray:
    """Area of each triangle: ``(T, 3, 3)`` -> ``(T,)``."""
    edges = triangles[:, 1:] - triangles[:, :1]
    doubled: np.ndarray = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    return doubled / 2


def sample_surface(triangles: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Independent points, uniform over the surface and so in no order: ``(count, 3)``, float32.

    Source: Osada et al., Shape distributions, ACM TOG 2002, eq. 1
    """
    cumulative = areas(triangles).cumsum()
    rows = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    a, b, c = triangles[np.minimum(rows, len(triangles) - 1)].swapaxes(0, 1)
    root = np.sqrt(rng.random((count, 1)))
    along = rng.random((count, 1))
    points: np.ndarray = (1 - root) * a + root * (1 - along) * b + root * along * c
    return points.astype(np.float32)
