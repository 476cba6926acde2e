"""A data set of shapes that corekit draws itself: no file, no download, exact factors."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from corekit.data.point_clouds import CloudSplit, ScaleMode, coordinate_std
from corekit.data.shape_recipes import RECIPES
from corekit.data.solids import sample_surface
from corekit.data_spec import DataSpec
from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import seed_of

POOL = 4  # points on the surface of a shape, per point of an example


class Shapes3dSplit(CloudSplit):
    """Shapes of one split, the categories in turn: shape i is a function of (seed, split, i)."""

    def __init__(
        self,
        name: str,
        categories: Sequence[str],
        size: int,
        points: int,
        *,
        scale: str,
        global_std: float | None,
        seed: int,
        resample: bool = True,
        labels: bool = False,
    ) -> None:
        how = {"resample": resample, "labels": labels}
        super().__init__(points, scale=scale, global_std=global_std, **how)
        self.split_name = name
        self.categories = tuple(categories)
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return self.size

    def label(self, index: int) -> int:
        """The number of the shape's category."""
        return self._row(index) % len(self.categories)

    def name(self, index: int) -> str:
        """Category and number: ``chair/3``."""
        return f"{self.categories[self.label(index)]}/{index}"

    def factors(self, index: int) -> dict[str, float]:
        """The numbers that shape ``index`` was built from (units: `RECIPES`)."""
        return self._draw_factors(index, self._rng(index))

    def parts(self, index: int) -> dict[str, np.ndarray]:
        """The triangles ``(T, 3, 3)`` of each part of shape ``index``, its bounding box about 0."""
        built = RECIPES[self.categories[self.label(index)]].build(self.factors(index))
        parts = {name: np.concatenate(solids) for name, solids in built.items() if solids}
        corners = np.concatenate(list(parts.values())).reshape(-1, 3)
        middle = (corners.min(0) + corners.max(0)) / 2
        return {name: triangles - middle for name, triangles in parts.items()}

    def _read(self, index: int) -> np.ndarray:
        rng = self._rng(index)
        self._draw_factors(index, rng)  # the same numbers again; the points come after them
        triangles = np.concatenate(list(self.parts(index).values()))
        return sample_surface(triangles, POOL * self.points, rng)

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng(seed_of(self.seed, "shapes3d", self.split_name, int(index)))

    def _draw_factors(self, index: int, rng: np.random.Generator) -> dict[str, float]:
        recipe = RECIPES[self.categories[self.label(index)]]
        return {factor.name: factor.draw(rng) for factor in recipe.factors}


class Shapes3d(Dataset):
    """Aeroplanes, chairs, tables and rockets made of boxes, tubes and wings.

    Every shape is drawn from its factors (`Shapes3dSplit.factors`), all independent and uniform.
    Its surface is sampled at 4 x ``points`` points, uniform by area; `get` draws ``points`` of
    them. Parts are not cut where they meet, so a few points lie inside. y is up; aeroplanes fly
    and chairs face along +x.

    Args:
        categories: Which of `RECIPES`; their numbers are the labels.
        points: Points per example.
        size: Training shapes. Shape i is the same in a set of any size.
        held_out: Shapes in "val", and in "test".
        scale: See `corekit.data.point_clouds.shift_and_scale`.
        seed: Another seed, other shapes.
        resample: Random points of a shape at each reading, else the same ones.
        labels: Hand on the number of the category.

    Example:
        >>> chairs = Shapes3d(["chair"], points=64, size=10).split("train")
        >>> chairs.get(0, np.random.default_rng(0)).x.shape
        torch.Size([64, 3])
    """

    def __init__(
        self,
        categories: Sequence[str] = ("aeroplane", "chair"),
        *,
        points: int = 512,
        size: int = 1024,
        held_out: int = 64,
        scale: ScaleMode = "shape_unit",
        seed: int = 0,
        resample: bool = True,
        labels: bool = False,
    ) -> None:
        self.categories = tuple(categories)
        for category in self.categories:
            if category not in RECIPES:
                near = difflib.get_close_matches(category, RECIPES, n=1, cutoff=0.5)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise DataError(
                    f"Shapes3d: category must be one of {', '.join(RECIPES)}, "
                    f"got '{category}'.{hint}"
                )
        if min(points, size, held_out, len(self.categories)) < 1:
            raise UsageError(
                "Shapes3d: points, size, held_out and the number of categories must be at least 1, "
                f"got {points}, {size}, {held_out} and {len(self.categories)}."
            )
        self.points, self.scale, self.seed, self.resample = points, scale, seed, resample
        self.sizes = {"train": size, "val": held_out, "test": held_out}
        self.labels, shapes = labels, {"labels": ()} if labels else {}
        self.data_spec = DataSpec((points, 3), size=size, condition_shapes=shapes)
        self._std: float | None = None

    def split(self, name: str) -> Shapes3dSplit:
        """The shapes of one split."""
        return self._make(
            name, self.scale, self.global_std() if self.scale == "global_unit" else None
        )

    def global_std(self) -> float:
        """Standard deviation of all coordinates of the training shapes."""
        if self._std is None:
            train = self._make("train", "none", None)
            self._std = coordinate_std(train.cloud(i) for i in range(len(train)))
        return self._std

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {
            "source": "drawn by corekit.data.shapes3d",
            "categories": list(self.categories),
            "sizes": self.sizes,
            "scale": self.scale,
            "seed": self.seed,
            "resample": self.resample,
            "labels": self.labels,
        }

    def _make(self, name: str, scale: str, global_std: float | None) -> Shapes3dSplit:
        if name not in self.sizes:
            raise DataError(f"Shapes3d: split must be one of train, val, test, got '{name}'.")
        return Shapes3dSplit(
            name,
            self.categories,
            self.sizes[name],
            self.points,
            scale=scale,
            global_std=global_std,
            seed=self.seed,
            resample=self.resample,
            labels=self.labels,
        )
