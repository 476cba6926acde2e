"""A folder of images: which files, of which class and split, as which numbers; read lazily."""

import hashlib
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from corekit.data.image_folder import ImageFolder
from corekit.data.loading import Loader
from corekit.data.pixels import read_pixels, resize_and_crop
from corekit.data_spec import Support
from corekit.errors import DataError, UsageError


def picture(height=9, width=7, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, pixels=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture() if pixels is None else pixels).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """20 images in two classes, by folder and by prefix, differently."""
    for i in range(20):
        name = f"{('ape', 'bee', 'cow')[i % 3]}_{i:02}.png"
        save(tmp_path / "pictures" / ("b", "a")[i % 2] / "deep" / name, picture(seed=i))
    return tmp_path / "pictures"


def get(dataset, index, split="train", seed=0):
    return dataset.split(split).get(index, np.random.default_rng(seed))


# -- which files ----------------------------------------------------------------------------------


def test_all_folders_are_searched_in_the_order_of_names(tmp_path):
    images = ("b.png", "a/z.JPG", "a/b/c.gif", "c.png", ".hidden.png", ".h/x.png")
    for name in (*images, "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("") if name.endswith("txt") else Image.new("RGB", (3, 3)).save(path)
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    names = ImageFolder(tmp_path, held_out=0).split("train").names
    assert names == ["a/b/c.gif", "a/z.JPG", "b.png", "c.png"]


def test_a_share_is_held_out_and_hardly_changes_when_a_file_comes(folder):
    data = ImageFolder(folder)
    names = {split: set(data.split(split).names) for split in data.splits}
    assert {split: len(n) for split, n in names.items()} == {"train": 16, "val": 2, "test": 2}
    assert len(set.union(*names.values())) == 20
    assert ImageFolder(folder).split("val").names == data.split("val").names
    save(folder / "new_1.png")
    after = ImageFolder(folder)
    moved = [n for split, was in names.items() for n in set(after.split(split).names) - was]
    assert len(moved) <= 3
    assert ImageFolder(folder, held_out=0).splits == ("train",)


def test_folders_named_after_splits_are_the_splits(tmp_path):
    for split, count in (("train", 10), ("validation", 3), ("test", 2), ("other", 4)):
        for i in range(count):
            save(tmp_path / split / "dog" / f"{split}{i}.png")
    data = ImageFolder(tmp_path, labels="folder")
    assert {s: len(data.split(s)) for s in data.splits} == {"train": 10, "val": 3, "test": 2}
    assert data.classes == ("dog",)
    assert data.split("val").name(0) == "validation/dog/validation0.png"
    with pytest.raises(DataError, match=r"one of train, val, test, got 'dev'"):
        data.split("dev")


def test_val_is_taken_from_train_where_it_alone_is_missing(tmp_path):
    for split, count in (("train", 10), ("test", 2)):
        for i in range(count):
            save(tmp_path / split / f"{i}.png")
    data = ImageFolder(tmp_path, held_out=0.2)
    assert {s: len(data.split(s)) for s in data.splits} == {"train": 8, "val": 2, "test": 2}
    assert all(name.startswith("train/") for name in data.split("val").names)
    assert ImageFolder(tmp_path, held_out=0).splits == ("train", "test")


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "car", "train"):
        for i in range(4):
            save(tmp_path / name / f"{i}.png")
    data = ImageFolder(tmp_path, labels="folder")
    assert data.classes == ("bus", "car", "train")
    assert sum(len(data.split(s)) for s in data.splits) == 12


# -- classes --------------------------------------------------------------------------------------


def test_the_class_is_the_first_folder_or_the_prefix(folder):
    by_folder = ImageFolder(folder, labels="folder", held_out=0)
    assert by_folder.classes == ("a", "b")
    item = get(by_folder, 0)
    assert item.condition.labels.item() == 0
    assert item.condition.labels.dtype == torch.int64
    assert by_folder.data_spec.condition_shapes == {"labels": ()}
    by_prefix = ImageFolder(folder, labels="prefix")
    assert by_prefix.classes == ("ape", "bee", "cow")
    for split in by_prefix.splits:
        examples = by_prefix.split(split)
        for i in range(len(examples)):
            prefix = examples.name(i).split("/")[-1].split("_")[0]
            label = examples.get(i, np.random.default_rng(0)).condition.labels
            assert by_prefix.classes[label] == prefix
    assert get(ImageFolder(folder), 0).condition is None


def test_an_image_without_a_class_is_refused(tmp_path):
    save(tmp_path / "plain.png")
    with pytest.raises(DataError, match=r"plain\.png: must be in a folder that names its class"):
        ImageFolder(tmp_path, labels="folder")
    with pytest.raises(DataError, match=r'plain\.png: the name must be <class>_.* got no "_"'):
        ImageFolder(tmp_path, labels="prefix")


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value_range", "support"),
    [((-1, 1), Support.REAL), ((0, 1), Support.UNIT_INTERVAL), ((0, 2), Support.REAL)],
)
def test_levels_fill_the_range_and_the_spec_says_so(tmp_path, value_range, support):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save(tmp_path / "levels.png", levels)
    data = ImageFolder(tmp_path, channels=1, value_range=value_range)
    x = get(data, 0).x
    spec = data.data_spec
    assert (x.shape, x.dtype) == (spec.event_shape, torch.float32)
    assert spec.support is support
    assert (x[0, 0, 0], x[0, -1, -1]) == value_range
    assert (spec.levels, spec.lowest, spec.size) == (256, value_range[0], 1)
    again = (x.double() - spec.lowest) / spec.bin_width
    assert torch.allclose(again, torch.from_numpy(levels)[None].double(), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_converted_to_the_channels(tmp_path, channels):
    grey, colour = picture(channels=1), picture()
    save(tmp_path / "a_grey.png", grey)
    save(tmp_path / "b_colour.png", colour)
    Image.fromarray(colour).quantize(8).save(tmp_path / "c_palette.png")
    Image.fromarray(grey > 99).save(tmp_path / "d_bits.png")
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "e_cmyk.jpg")
    data = ImageFolder(tmp_path, channels=channels, value_range=(0, 1), held_out=0)
    xs = [get(data, i).x for i in range(5)]
    assert {tuple(x.shape) for x in xs} == {(channels, 9, 7)}
    assert np.array_equal((xs[0][0] * 255).round(), grey)
    if channels == 4:
        assert all((x[3] == 1).all() for x in xs)
    if channels >= 3:
        assert np.array_equal((xs[1][:3] * 255).round(), colour.transpose(2, 0, 1))


def test_a_palette_is_averaged_as_colours_not_as_numbers(tmp_path):
    chess = (np.indices((16, 16)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(chess).convert("P").save(tmp_path / "chess.png")
    x = get(ImageFolder(tmp_path, size=4, channels=1, value_range=(0, 1)), 0).x
    assert torch.allclose(x, torch.full_like(x, 0.5), atol=0.01)


def test_a_photograph_is_turned_upright(tmp_path):
    pixels = picture(6, 4)
    exif = Image.Exif()
    exif[274] = 6  # orientation: turn by 90 degrees to the right
    save(tmp_path / "turned.png", pixels, exif=exif)
    assert np.array_equal(read_pixels(tmp_path / "turned.png"), np.rot90(pixels, -1))


def test_half_of_the_training_images_are_mirrored(folder):
    plain, flipped = ImageFolder(folder), ImageFolder(folder, flip=True)
    x, seen = get(plain, 3).x, 0
    for seed in range(100):
        y = get(flipped, 3, seed=seed).x
        assert y.equal(x) or y.equal(x.flip(-1))
        seen += y.equal(x.flip(-1))
    assert 30 < seen < 70
    kept = [get(flipped, 1, "val", seed=seed).x for seed in range(20)]
    assert all(k.equal(get(plain, 1, "val").x) for k in kept)


@pytest.mark.parametrize("extent", [(8, 8), (64, 37), (37, 64), (17, 16), (15, 40), (5, 3)])
def test_the_middle_square_is_kept(extent):
    assert resize_and_crop(Image.fromarray(picture(*extent)), 8).size == (8, 8)
    column, row = np.meshgrid(np.arange(extent[1]), np.arange(extent[0]))
    ramp = np.stack([row, column, row], 2).astype(np.uint8)
    means = np.asarray(resize_and_crop(Image.fromarray(ramp), 8)).mean((0, 1))[:2]
    assert means == pytest.approx([(extent[0] - 1) / 2, (extent[1] - 1) / 2], abs=1)


# -- loading --------------------------------------------------------------------------------------


def test_nothing_but_names_is_read_at_start(folder, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("an image was opened")

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        data = ImageFolder(folder, size=4, labels="prefix")
        split = data.split("train")
        assert len(split) == 16
    assert split.get(0, np.random.default_rng(0)).x.shape == (3, 4, 4)


def test_workers_change_no_bit(folder):
    split = ImageFolder(folder, size=6, flip=True, labels="folder").split("train")
    batches = [list(islice(Loader(split, 5, seed=1, workers=w), 7)) for w in (0, 2)]
    for a, b in zip(*batches, strict=True):
        assert a.x.equal(b.x)
        assert a.condition.labels.equal(b.condition.labels)


# -- refusals and records -------------------------------------------------------------------------


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    whole = save(tmp_path / "cut.jpg", picture(64, 64)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    data = ImageFolder(tmp_path, size=4, held_out=0)
    with pytest.raises(DataError, match=r"broken\.png: must be an image .* cannot identify"):
        get(data, 0)
    with pytest.raises(DataError, match=r"cut\.jpg: must be an image .* but: .*trunc"):
        get(data, 1)
    with pytest.raises(DataError, match=r"deep\.png: must be .* of 8 bits .* got mode 'I;16'"):
        get(data, 2)
    with pytest.raises(IndexError, match="3 does not exist"):
        get(data, 3)


def test_images_of_several_sizes_need_a_size(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", picture(5, 5))
    data = ImageFolder(tmp_path, held_out=0)
    with pytest.raises(DataError, match=r"b\.png: must be 7 x 9 .* got 5 x 5\. Set `size`"):
        get(data, 1)


def test_an_empty_folder_is_refused_with_the_layout(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"(?s)<train\|val\|test>/.*Found no image, but: notes"):
        ImageFolder(tmp_path)
    with pytest.raises(DataError, match=r"(?s)none: must be a folder of images.*Found no folder"):
        ImageFolder(tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": 2}, "got 2 and None"),
        ({"size": 0}, "got 3 and 0"),
        ({"value_range": (1, 1)}, "got 1 and 1"),
        ({"held_out": 0.5}, "got 0.5"),
    ],
)
def test_impossible_options_are_refused(folder, options, words):
    with pytest.raises(UsageError, match=words):
        ImageFolder(folder, **options)


def test_the_run_records_files_hash_classes_and_licence(tmp_path):
    save(tmp_path / "b_1.png")
    save(tmp_path / "a_1.png", picture(seed=1))
    (tmp_path / "LICENSE.txt").write_text("CC0 1.0\nand more")
    facts = ImageFolder(tmp_path, labels="prefix", held_out=0, source="my own").describe()
    names = ("a_1.png", "b_1.png")
    sums = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names]
    lines = "".join(f"{s}  {name}\n" for s, name in zip(sums, names, strict=True))
    assert facts["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert facts["bytes"] == sum((tmp_path / name).stat().st_size for name in names)
    assert (facts["files"], facts["sizes"], facts["classes"]) == (2, {"train": 2}, ["a", "b"])
    assert (facts["source"], facts["licence"]) == ("my own", "LICENSE.txt: CC0 1.0")
