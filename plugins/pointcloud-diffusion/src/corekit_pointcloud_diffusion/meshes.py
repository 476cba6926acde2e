"""Point clouds from a folder of meshes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corekit.data.fingerprint import fingerprint
from corekit.data.folders import licence_file
from corekit.data.mesh_names import find_meshes
from corekit.data.point_clouds import CloudSplit, ScaleMode, coordinate_std
from corekit.data.solids import areas, sample_surface
from corekit.data.splitting import SPLITS
from corekit.data_spec import DataSpec, Shape
from corekit.errors import DataError, PluginError, UsageError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import seed_of


class Mesh(NamedTuple):
    """A file below the folder, and the number of its class."""

    name: str
    label: int


class MeshSplit(CloudSplit):
    """The shapes of one split, class by class; a file is read when it is asked for."""

    def __init__(
        self,
        root: Path,
        files: Sequence[Mesh],
        points: int,
        seed: int,
        *,
        scale: str = "none",
        global_std: float | None = None,
        labels: bool = False,
    ) -> None:
        super().__init__(points, scale=scale, global_std=global_std, resample=False, labels=labels)
        self.root, self.files, self.seed = root, tuple(files), seed

    def __len__(self) -> int:
        return len(self.files)

    def label(self, index: int) -> int:
        """The number of the shape's class."""
        return self.files[self._row(index)].label

    def name(self, index: int) -> str:
        """The path below the folder."""
        return self.files[self._row(index)].name

    def _read(self, index: int) -> np.ndarray:
        name = self.files[index].name
        rng = np.random.default_rng(seed_of(self.seed, "meshes", name))
        return sample_surface(read_triangles(self.root / name), self.points, rng)


class Meshes(Dataset):
    """Points on the surfaces of the meshes below a folder, independent and uniform by area.

    The points of a shape depend on the seed and on the name of its file below the folder alone:
    they are the same at each visit. Reading a mesh takes longer than reading points, so large
    sets are better converted once (``corekit data convert``).

    The folder is laid out as `corekit.data.mesh_names.LAYOUT`: ``<class>/<train|val|test>/``, as
    ModelNet has it, or the other way round; else ``held_out`` of each class are taken for "val",
    and for "test", by a hash of their names. Where "val" alone is missing, it is taken of "train".

    Args:
        path: The folder.
        points: Points per example.
        scale: See `corekit.data.point_clouds.shift_and_scale`.
        seed: Another seed, other points of the same shapes.
        held_out: Share of a class in "val", and in "test", where the folder has no splits.
        labels: Hand the number of the class on as the condition "labels".
        source, licence: Recorded with the run; a file LICENSE in the folder is quoted otherwise.

    Raises:
        DataError: If there is no such folder, or no mesh in it; of a mesh when it is read.
        PluginError: If trimesh is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        points: int = 2048,
        scale: ScaleMode = "shape_unit",
        seed: int = 0,
        held_out: float = 0.1,
        labels: bool = False,
        source: str | None = None,
        licence: str | None = None,
    ) -> None:
        if points < 1:
            raise UsageError(f"Meshes: points must be at least 1, got {points}.")
        self.root, self.points, self.scale, self.seed = Path(path), points, scale, seed
        self.labels, self.source, self.licence = labels, source, licence
        found = find_meshes(self.root, held_out)
        check_installed()
        self.categories = tuple(found)
        files = {
            split: [
                Mesh(name, label)
                for label, parts in enumerate(found.values())
                for name in parts.get(split, ())
            ]
            for split in SPLITS
        }
        self._files = {split: members for split, members in files.items() if members}
        self.splits = tuple(self._files)
        conditions: dict[str, Shape] = {"labels": ()} if labels else {}
        size = len(self._files.get("train", ())) or None
        self.data_spec = DataSpec((points, 3), size=size, condition_shapes=conditions)
        self._std: float | None = None

    def split(self, name: str) -> MeshSplit:
        """The shapes of one split."""
        if name not in self._files:
            known = ", ".join(self.splits)
            raise DataError(f"{self.root}: split must be one of {known}, got '{name}'.")
        std = self.global_std() if self.scale == "global_unit" else None
        given = self.root, self._files[name], self.points, self.seed
        return MeshSplit(*given, scale=self.scale, global_std=std, labels=self.labels)

    def global_std(self) -> float:
        """Standard deviation of all coordinates of the training shapes, each of which is read."""
        if self._std is None:
            train = MeshSplit(self.root, self._files.get("train", ()), self.points, self.seed)
            self._std = coordinate_std(train.raw(i) for i in range(len(train)))
        return self._std

    def describe(self) -> Mapping[str, object]:
        """What the run records: the files and their hash, classes, sizes, licence."""
        names = [mesh.name for members in self._files.values() for mesh in members]
        return {
            "path": str(self.root),
            "source": self.source,
            "licence": self.licence or licence_file(self.root),
            **fingerprint(self.root, names),
            "categories": list(self.categories),
            "sizes": {split: len(members) for split, members in self._files.items()},
            "points": self.points,
            "scale": self.scale,
            "seed": self.seed,
        }


def check_installed() -> None:
    """Raise PluginError if the library that reads meshes is missing."""
    try:
        import trimesh  # noqa: F401
    except ImportError as error:
        raise PluginError(
            "pointcloud.meshes: the package trimesh must be installed, got none: "
            "pip install 'corekit-pointcloud-diffusion[meshes]'."
        ) from error


def read_triangles(path: Path) -> np.ndarray:
    """The triangles of a mesh file; faces of more corners are cut, materials are left out.

    Shape: float64 ``(T, 3, 3)``
    Raises: DataError if it cannot be read, or has no surface.
    """
    import trimesh

    try:
        mesh = trimesh.load_mesh(path, process=False, skip_materials=True)
        triangles = np.asarray(mesh.triangles, np.float64)
    except Exception as error:  # its readers raise almost anything on a damaged file
        rule = f"a mesh that can be read, got {type(error).__name__}: {error}"
        raise _refused(path, rule) from error
    if not len(triangles):
        raise _refused(path, "a mesh with faces, got none")
    if not np.isfinite(triangles).all():
        raise _refused(path, "a mesh whose corners are finite, got NaN or infinity")
    if not areas(triangles).sum() > 0:
        raise _refused(path, "a mesh with a surface, got an area of 0")
    return triangles


def _refused(path: Path, rule: str) -> DataError:
    return DataError(f"{path}: must be {rule}. Repair the file, or remove it.")
