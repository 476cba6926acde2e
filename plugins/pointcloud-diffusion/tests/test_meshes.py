"""Meshes: points by area, classes and splits of a folder, the packed file, what is refused."""

import importlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import trimesh
from corekit_pointcloud_diffusion.mesh_specs import MeshesSpec
from corekit_pointcloud_diffusion.meshes import Meshes, read_triangles

from corekit.cli.main import main
from corekit.data.converting import convert
from corekit.data.hdf5 import Hdf5PointClouds
from corekit.data.inspecting import look
from corekit.data.shapes3d import Shapes3d
from corekit.data.solids import areas
from corekit.errors import DataError, PluginError, UsageError

SIDES = (1.0, 2.0, 4.0)


def box(path, sides=SIDES, **how):
    """A box whose corners lie at 0 and at its sides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = trimesh.creation.box(bounds=((0, 0, 0), sides))
    if how.get("file_type") == "stl_ascii":
        path.write_text(trimesh.exchange.stl.export_stl_ascii(mesh))
    else:
        mesh.export(path, **how)
    return path


@pytest.fixture
def modelnet(tmp_path):
    """Two classes with parts for training and testing."""
    for group, train, test in (("bed", 6, 2), ("desk", 4, 3)):
        for i in range(train + test):
            part = "train" if i < train else "test"
            box(tmp_path / "mn" / group / part / f"{group}_{i:04}.off", (1, 1 + i, 2))
    return tmp_path / "mn"


def names(data):
    return {s: [data.split(s).name(i) for i in range(len(data.split(s)))] for s in data.splits}


# -- points ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.off", {}),
        ("a.obj", {}),
        ("a.stl", {}),
        ("ascii.stl", {"file_type": "stl_ascii"}),
        ("a.ply", {}),
        ("ascii.ply", {"encoding": "ascii"}),
        ("UPPER.OFF", {}),
    ],
)
def test_every_format_has_the_surface_that_was_written(tmp_path, name, how):
    triangles = read_triangles(box(tmp_path / name, **how))
    assert triangles.shape == (12, 3, 3)
    assert triangles.dtype == np.float64
    a, b, c = SIDES
    assert areas(triangles).sum() == pytest.approx(2 * (a * b + b * c + c * a), rel=1e-6)
    assert triangles.min() == 0
    assert triangles.max() == 4


def test_faces_of_four_corners_are_two_triangles_and_materials_are_left_out(tmp_path):
    (tmp_path / "square.off").write_text(  # the counts beside OFF, as in some files of ModelNet
        "OFF4 1 0\n0 0 0\n3 0 0\n3 3 0\n0 3 0\n4 0 1 2 3\n"
    )
    (tmp_path / "two.obj").write_text(
        "mtllib none.mtl\no one\nv 0 0 0\nv 3 0 0\nv 3 3 0\nv 0 3 0\nusemtl red\nf 1 2 3\n"
        "o two\nusemtl blue\nf 1//1 3//1 4//1\n"
    )
    for name in ("square.off", "two.obj"):
        triangles = read_triangles(tmp_path / name)
        assert sorted(areas(triangles)) == [4.5, 4.5]


def test_points_lie_on_the_surface_as_many_on_a_face_as_it_is_large(tmp_path):
    box(tmp_path / "a.off")
    count = 6000
    points = Meshes(tmp_path, points=count, held_out=0).split("train").raw(0)
    assert points.dtype == np.float32
    a, b, c = SIDES
    total = 2 * (a * b + b * c + c * a)
    seen = 0
    for axis, area in ((0, b * c), (1, a * c), (2, a * b)):
        for place in (0.0, SIDES[axis]):
            share, here = area / total, np.abs(points[:, axis] - place) < 1e-6
            assert abs(here.sum() - share * count) < 3 * np.sqrt(count * share * (1 - share))
            others = points[here][:, [i for i in range(3) if i != axis]]
            sides = np.delete(SIDES, axis)
            middle = 3 * sides / np.sqrt(12 * here.sum())  # 3 standard errors of a uniform mean
            assert (np.abs(others.mean(0) - sides / 2) < middle).all()
            seen += here.sum()
    assert seen >= count


def test_points_depend_on_the_seed_and_the_name_alone(modelnet, tmp_path):
    data = Meshes(modelnet, points=7)
    again = Meshes(modelnet, points=7, held_out=0).split("train")
    first = data.split("train").raw(2)
    place = names(Meshes(modelnet, held_out=0))["train"].index(data.split("train").name(2))
    assert place == 3  # one before it was held out above
    assert np.array_equal(first, again.raw(place))
    assert not np.array_equal(first, Meshes(modelnet, points=7, seed=1).split("train").raw(2))
    for i in range(2):
        box(tmp_path / "same" / f"{i}.off")
    same = Meshes(tmp_path / "same", points=7, held_out=0).split("train")
    assert not np.array_equal(same.raw(0), same.raw(1))
    visits = [data.split("train").get(2, np.random.default_rng(s)).x for s in (0, 1)]
    assert visits[0].equal(visits[1])


def test_the_std_of_all_training_shapes_scales_them(modelnet):
    data = Meshes(modelnet, points=50, scale="global_unit", labels=True)
    train = data.split("train")
    raw = np.stack([train.raw(i) for i in range(len(train))])
    assert data.global_std() == pytest.approx(raw.std(ddof=1), rel=1e-5)
    x, condition = train.get(6, np.random.default_rng(0))
    assert condition.labels == 1
    wanted = (raw[6] - raw[6].mean(0)) / raw.std(ddof=1)
    assert np.allclose(x.numpy(), wanted, atol=1e-5)


# -- classes and splits ---------------------------------------------------------------------------


def test_the_layout_of_modelnet_has_classes_and_a_share_of_train_for_val(modelnet):
    data = Meshes(modelnet, held_out=0.2, points=2)
    assert data.categories == ("bed", "desk")
    found = names(data)
    assert {k: len(v) for k, v in found.items()} == {"train": 8, "val": 2, "test": 5}
    assert {name.split("/")[0] for name in found["val"]} == {"bed", "desk"}
    assert all("/train/" in name for name in found["train"] + found["val"])
    assert all("/test/" in name for name in found["test"])
    assert len({name for members in found.values() for name in members}) == 15


def test_classes_without_splits_hold_out_a_share_each_by_name(tmp_path):
    for group in ("cup", "mug"):
        for i in range(10):
            box(tmp_path / group / f"{i}" / "models" / "model.obj")
    found = names(Meshes(tmp_path, points=2))
    assert {k: len(v) for k, v in found.items()} == {"train": 16, "val": 2, "test": 2}
    for i in range(10, 14):  # what is held out stays so, as long as the share is the same number
        box(tmp_path / "cup" / f"{i}" / "models" / "model.obj")
    more = names(Meshes(tmp_path, points=2))
    moved = set(found["train"]) & (set(more["val"]) | set(more["test"]))
    assert len(moved) <= 2
    assert "val" not in Meshes(tmp_path, held_out=0).splits


def test_splits_above_classes_and_a_flat_folder_are_read_too(tmp_path):
    for name in ("train/cup/a.stl", "train/mug/b.off", "test/cup/c.ply", "val/mug/d.obj"):
        box(tmp_path / "above" / name)
    data = Meshes(tmp_path / "above", points=2)
    assert data.categories == ("cup", "mug")
    assert names(data) == {
        "train": ["train/cup/a.stl", "train/mug/b.off"],
        "val": ["val/mug/d.obj"],
        "test": ["test/cup/c.ply"],
    }
    for i in range(5):
        box(tmp_path / "flat" / (f"{i}.off" if i else "0.OFF"))
    flat = Meshes(tmp_path / "flat", points=2, held_out=0.2)
    assert flat.categories == ("flat",)
    assert [len(members) for members in names(flat).values()] == [3, 1, 1]
    for name in ("train/a.off", "car/b.off", "car/c.off"):  # "train" is a class here
        box(tmp_path / "classes" / name)
    assert Meshes(tmp_path / "classes", points=2).categories == ("car", "train")


# -- packing --------------------------------------------------------------------------------------


def test_the_command_packs_a_folder_that_pointcloud_hdf5_reads(modelnet, tmp_path, capsys):
    out = tmp_path / "mn.h5"
    words = ["--set", "points=9", "--set", "seed=3", "--set", "held_out=0.2"]
    assert main(["data", "convert", str(modelnet), str(out), *words]) == 0
    printed = capsys.readouterr().out.splitlines()
    block = ["data:", "  type: pointcloud.hdf5", f"  path: {out}", "  points: 9"]
    assert printed[-5:] == [*block, str(out)]
    source = Meshes(modelnet, points=9, seed=3, held_out=0.2)
    packed = Hdf5PointClouds(out, points=9, resample=False, labels=True)
    assert packed.splits == source.splits
    assert packed.categories == source.categories
    for split in source.splits:
        one, two = source.split(split), packed.split(split)
        assert len(one) == len(two)
        for i in range(len(one)):
            assert one.label(i) == two.label(i)
            assert np.array_equal(one.raw(i), two.raw(i))
    told = packed.describe()["attributes"]
    assert told["sha256"] == look(modelnet).files["sha256"] == source.describe()["sha256"]
    assert told["made_from"] == str(modelnet)
    assert (told["seed"], told["points"]) == (3, 9)
    packed.close()
    with h5py.File(out) as file:
        assert file["desk/train"].dtype == np.float32
        assert file["desk/test_names"].asstr()[:].tolist() == [
            f"desk/test/desk_{i:04}.off" for i in (4, 5, 6)
        ]


def test_inspecting_counts_shapes_and_imports_neither_torch_nor_trimesh(modelnet):
    (modelnet / "bed" / "texture.png").write_bytes(b"not looked at")
    found = look(modelnet)
    assert found.data == {"type": "pointcloud.meshes", "path": str(modelnet)}
    assert found.what == "15 meshes"
    assert list(found.rows) == [("bed", "5", "1", "2"), ("desk", "3", "1", "3")]
    assert any("corekit-pointcloud-diffusion[meshes]" in note for note in found.notes)
    code = "import sys; from corekit.cli.main import main; code = main(sys.argv[1:])\n"
    code += "import corekit, corekit_pointcloud_diffusion as p; p.corekit_components()\n"
    code += "print(code, 'torch' in sys.modules, 'trimesh' in sys.modules)"
    words = [sys.executable, "-c", code, "data", "inspect", str(modelnet)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False False"


def test_other_clouds_are_packed_as_they_are_stored(tmp_path):
    data = Shapes3d(["chair", "table"], points=5, size=6, held_out=2)
    out = convert(data, tmp_path / "drawn.h5")
    packed = Hdf5PointClouds(out, ["chair", "table"], points=5)
    for split in data.splits:
        one, two = data.split(split), packed.split(split)
        order = sorted(range(len(one)), key=one.label)
        for i, place in enumerate(order):
            assert np.array_equal(one.raw(place), two.raw(i))
    packed.close()
    with pytest.raises(UsageError, match=r"must end in \.h5 or \.hdf5 for point clouds"):
        convert(data, tmp_path / "drawn.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drawn.h5"]


# -- what is refused ------------------------------------------------------------------------------

TRIANGLE = "0 0 0\n1 0 0\n0 1 0\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.off", "", "can be read, got ValueError"),
        ("short.off", "OFF\n4 4 0\n" + TRIANGLE, "can be read, got ValueError"),
        ("outside.off", "OFF\n3 1 0\n" + TRIANGLE + "3 0 1 7\n", "can be read, got"),
        ("junk.stl", "junk", "with faces, got none"),
        ("points.obj", "v 0 0 0\nv 1 0 0\n", "with faces, got none"),
        ("nan.off", "OFF\n3 1 0\n0 0 0\n1 nan 0\n0 1 0\n3 0 1 2\n", "corners are finite, got NaN"),
        ("flat.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "surface, got an area of 0"),
    ],
)
def test_a_broken_mesh_is_refused_by_name_and_leaves_no_file(tmp_path, name, text, message):
    box(tmp_path / "in" / "a.off")
    (tmp_path / "in" / name).write_text(text)
    with pytest.raises(DataError, match=rf"(?s)in.{name}: must be a mesh .*{message}.*remove it"):
        convert(Meshes(tmp_path / "in", points=4, held_out=0), tmp_path / "out.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_folders_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "notes.md").write_text("")
    with pytest.raises(DataError, match=r"(?s)<class>/<train\|val\|test>.*no mesh, but: notes.md"):
        Meshes(tmp_path)
    with pytest.raises(DataError, match="Found no folder"):
        Meshes(tmp_path / "none")
    for name in ("cup/train/a.off", "cup/b.off"):
        box(tmp_path / name)
    with pytest.raises(DataError, match=r"class 'cup' .* got train and cup/b\.off outside of them"):
        Meshes(tmp_path)
    (tmp_path / "cup" / "b.off").unlink()
    data = Meshes(tmp_path, points=2)
    with pytest.raises(DataError, match="split must be one of train, got 'val'"):
        data.split("val")
    with pytest.raises(UsageError, match="points must be at least 1, got 0"):
        Meshes(tmp_path, points=0)
    with pytest.raises(DataError, match=r"path must name a folder, got 'none'"):
        MeshesSpec(path="none").check()


def test_the_missing_library_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    box(tmp_path / "a.off")
    monkeypatch.setitem(sys.modules, "trimesh", None)  # so Python marks what cannot be imported
    monkeypatch.delitem(sys.modules, Meshes.__module__)
    module = importlib.import_module(Meshes.__module__)
    with pytest.raises(PluginError, match=r"pip install 'corekit-pointcloud-diffusion\[meshes\]'"):
        module.Meshes(tmp_path)
