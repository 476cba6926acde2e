"""Partial clouds, pictures and labels: what a data set hands to a model as its condition."""

import h5py
import numpy as np
import pytest
import torch
from corekit_pointcloud_diffusion.data_specs import PartialSpec, ViewsSpec
from corekit_pointcloud_diffusion.partial import Partial, side
from corekit_pointcloud_diffusion.picture import PictureEncoder
from corekit_pointcloud_diffusion.views import Views

from corekit.build import build, build_dataset
from corekit.data.hdf5 import Hdf5PointClouds
from corekit.data.loading import fixed_batches, item_rng
from corekit.data.shapes3d import Shapes3d
from corekit.errors import DataError, ShapeError, UsageError
from corekit.interfaces.draws import seed_of
from corekit.report import save
from corekit.spec import run_spec
from corekit.train import sampling
from corekit.train.conditions import of_examples

SIZES = {"train": 4, "val": 2, "test": 2}


def clouds(**options):
    return Shapes3d(points=20, size=6, held_out=3, **options)


def test_the_given_points_are_those_on_one_side():
    torch.manual_seed(0)
    cloud, direction = torch.randn(9, 3), torch.randn(3)
    points, mask = side(cloud, direction, 4, 6)
    assert mask.tolist() == [True] * 4 + [False] * 2
    assert not points[4:].any()
    far = cloud @ direction
    given = (cloud[:, None] == points[:4]).all(2).any(1)  # which of the cloud are given
    assert given.sum() == 4
    assert far[given].min() > far[~given].max()


def test_training_draws_a_part_at_each_visit_and_held_out_parts_stay():
    data = Partial(of=clouds(resample=False), share=0.5, least=0.1)
    assert data.data_spec.condition_shapes == {"points": (10, 3), "mask": (10,)}
    train = data.split("train")
    seen = [train.get(2, np.random.default_rng(seed)).condition for seed in range(20)]
    assert len({tuple(c.points.flatten().tolist()) for c in seen}) == 20
    assert {int(c.mask.sum()) for c in seen} <= set(range(2, 11))
    assert len({int(c.mask.sum()) for c in seen}) > 4
    held_out = data.split("val")
    one, other = (held_out.get(2, np.random.default_rng(seed)).condition for seed in (0, 1))
    assert torch.equal(one.points, other.points)
    assert torch.equal(one.mask, other.mask)
    assert not torch.equal(one.points, held_out.get(1, np.random.default_rng(0)).condition.points)


def test_a_share_without_a_least_one_is_always_given_and_lies_in_the_cloud():
    data = Partial(of=clouds(), share=0.4)
    batch = next(fixed_batches(data.split("train"), 0, 4))
    assert batch.condition.mask.all()
    assert batch.condition.points.shape == (4, 8, 3)
    distances = torch.cdist(batch.condition.points, batch.x).amin(2)
    assert distances.max() == 0


def test_shares_and_clouds_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"0 < least <= share <= 1 must hold, .* got 0.6 and 0.5"):
        Partial(of=clouds(), share=0.5, least=0.6)
    with pytest.raises(UsageError, match=r"without given points, got .* points, mask"):
        Partial(of=Partial(of=clouds()))
    with pytest.raises(ValueError, match=r"least must not exceed share = 0.5, got 0.6"):
        PartialSpec(of={"type": "shapes3d"}, least=0.6)
    with pytest.raises(ShapeError, match=r"clouds \(points, dimensions\), got \(1, 20, 20\)"):
        PartialSpec(of={"type": "shapes2d"}).data_spec()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shapes.h5"
    with h5py.File(path, "w") as out:
        for category in ("hat", "wheel"):
            for split, size in SIZES.items():
                out[f"{category}/{split}"] = np.random.default_rng(0).normal(size=(size, 30, 3))
    return path


def pictures(path, leave_out=None, **changes):
    """A picture of every shape, all of whose pixels say which shape, split and view it is."""
    places = [
        (g, s, row)
        for s, size in enumerate(SIZES.values())
        for g in (1, 0)
        for row in reversed(range(size))
        if (g, s, row) != leave_out
    ]
    group, split, row = np.array(places).T
    level = 100 * group + 30 * split + 5 * row
    x = np.broadcast_to(level[:, None] + np.arange(3), (len(places), 3)).astype(np.uint8)
    x = np.broadcast_to(x[:, :, None, None], (*x.shape, 4, 4))
    arrays = {"x": x, "group": group, "split": split, "row": row}
    arrays |= {"group_names": ["hat", "wheel"], "split_names": list(SIZES)}
    kept = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
    np.savez(path, **kept)
    return path


def test_each_cloud_has_a_picture_of_its_own_shape(file, tmp_path):
    of = Hdf5PointClouds(file, points=8, labels=True)
    data = Views(pictures(tmp_path / "views.npz"), of=of, size=4)
    assert data.data_spec.condition_shapes == {"labels": (), "image": (1, 4, 4)}
    for s, (split, size) in enumerate(SIZES.items()):
        part = data.split(split)
        for index in range(2 * size):
            group, row = divmod(index, size)
            levels = 100 * group + 30 * s + 5 * row + np.arange(3)
            seen = set()
            for seed in range(12):
                condition = part.get(index, np.random.default_rng(seed)).condition
                assert condition.labels == group
                assert condition.image.shape == (1, 4, 4)
                seen.add(round((condition.image[0, 1, 2].item() + 1) * 127.5, 3))
            assert seen == (set(levels) if split == "train" else {levels[0]})
    data.close()


def test_names_in_the_file_of_pictures_may_be_written_out(file, tmp_path):
    names = {"group": None, "group_names": None}
    path = pictures(tmp_path / "views.npz")
    with np.load(path) as archive:
        group = archive["group_names"][archive["group"]]
    path = pictures(tmp_path / "other.npz", **{**names, "group": group})
    data = Views(path, of=Hdf5PointClouds(file, points=8), size=4)
    assert (
        data.split("val").rows
        == Views(tmp_path / "views.npz", of=Hdf5PointClouds(file, points=8), size=4)
        .split("val")
        .rows
    )


def test_pictures_that_do_not_fit_are_refused(file, tmp_path):
    of, path = Hdf5PointClouds(file, points=8), tmp_path / "views.npz"
    lacking = Views(pictures(path, leave_out=(1, 0, 3)), of=of, size=4)
    with pytest.raises(DataError, match="got none of wheel/train row 3 and 0 more"):
        lacking.split("train")
    with pytest.raises(DataError, match=r"\(n, views, 8, 8\) of uint8, got \(15, 3, 4, 4\)"):
        Views(path, of=of, size=8)
    with pytest.raises(DataError, match=r"got no 'row'. It has: x, group"):
        Views(pictures(path, row=None), of=of, size=4)
    with pytest.raises(DataError, match="of uint8, got none"):
        Views(pictures(path, x=None), of=of, size=4)
    with pytest.raises(UsageError, match=r"of must be a pointcloud.hdf5, got Shapes3d"):
        Views(path, of=clouds(), size=4)
    with pytest.raises(DataError, match=r"path must name a file, got 'no.npz'"):
        ViewsSpec(path="no.npz", of={"type": "pointcloud.hdf5", "path": str(file)}).check()


def test_labels_are_the_places_of_the_categories(file):
    data = Hdf5PointClouds(file, ["wheel", "hat"], points=8, labels=True)
    batch = next(fixed_batches(data.split("train"), 0, 8))
    assert batch.condition.labels.tolist() == [0] * 4 + [1] * 4
    assert batch.condition.labels.dtype is torch.int64
    plain = Hdf5PointClouds(file, points=8)
    assert plain.data_spec.condition_shapes == {}
    assert next(fixed_batches(plain.split("train"), 0, 8)).condition is None


def test_a_picture_is_seen_place_by_place():
    torch.manual_seed(0)
    net = PictureEncoder((2, 20, 11), latent_dim=3, channels=(4, 6), hidden=5).double()
    x = torch.randn(2, 2, 20, 11, dtype=torch.float64)
    assert net(x).mode.shape == (2, 3)
    left, right = torch.zeros(2, 1, 2, 20, 11, dtype=torch.float64)
    left[..., :5, :2], right[..., :5, -2:] = 1, 1  # the same mean
    means = PictureEncoder((2, 20, 11), latent_dim=3, channels=(), hidden=5).double()
    assert (means(left).mode - means(right).mode).abs().min() > 1e-6
    gaussian = PictureEncoder((2, 20, 11), latent_dim=3, posterior="gaussian", channels=(4,))
    assert gaussian(x.float()).log_var.shape == (2, 3)
    with pytest.raises(ShapeError, match=r"the event must be \(C, H, W\), got \(20, 11\)"):
        PictureEncoder((20, 11))
    with pytest.raises(UsageError, match="posterior must be 'gaussian' or 'point', got 'flow'"):
        PictureEncoder((2, 20, 11), posterior="flow")


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_samples_complete_held_out_parts_which_are_drawn_below(tmp_path, guidance, monkeypatch):
    small = {"hidden": 4, "tokens": 2, "width": 4, "depth": 1, "heads": 1}
    model = {
        "type": "diffusion",
        "denoiser": {"type": "pointcloud.set_transformer", "predicts": "x_0", **small},
        "schedule": {"type": "pointcloud.variance_schedule", "steps": 4, "beta_end": 0.99},
        "loss": {"type": "ddpm.mse", "target": "x_0"},
        "drop_condition": 0.5,
        "guidance": guidance,
    }
    of = {"type": "shapes3d", "points": 20, "size": 6, "held_out": 3}
    spec = run_spec(
        {"version": 1, "model": model, "data": {"type": "pointcloud.partial", "of": of}}
    )
    model, data = build(spec).eval(), build_dataset(spec)
    drawn = []
    monkeypatch.setattr(sampling, "save_completions", lambda *given: drawn.append(given))
    conditions = of_examples(model, data, seed=0)
    sampling.sample_and_save(model, tmp_path / "four", 4, 0, conditions=conditions)
    samples, points, mask, _ = drawn[0]
    assert samples.shape == (4, 20, 3)
    val = data.split("val")
    want = [val.get(i, item_rng(seed_of(0, "heldout"), "fixed", i)).condition for i in (0, 1, 2, 0)]
    assert torch.equal(points, torch.stack([c.points for c in want]))
    assert torch.equal(mask, torch.stack([c.mask for c in want]))


def test_a_completion_stands_above_what_was_given(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(save, "pairs_grid", lambda *given: drawn.append(given))
    samples, points = torch.randn(2, 5, 3), torch.randn(2, 3, 3)
    mask = torch.tensor([[True, False, True], [False] * 3])
    save.save_completions(samples, points, mask, tmp_path / "two.png")
    above, below, _, captions = drawn[0]
    assert torch.equal(torch.stack(above), samples)
    assert torch.equal(below[0], points[0, [0, 2]])
    assert below[1].shape == (0, 3)
    assert captions == ("completion", "given")
    assert save.save_completions(samples[..., :2], points, mask, tmp_path / "no.png") is None
