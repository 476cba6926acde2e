"""Directions of attributes, where the latent is a known map of the data."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from corekit.data.arrays import Arrays
from corekit.data_spec import DataSpec
from corekit.errors import CheckpointError, DataError, UsageError
from corekit.flows.compose import Chain
from corekit.flows.linear import Linear
from corekit.flows.model import FlowModel
from corekit.flows.multiscale import MultiScale
from corekit.flows.squeeze import Squeeze
from corekit.interfaces.draws import RowDraws
from corekit.train import directions as module
from corekit.train.attributes import Attributes, attributes_of
from corekit.train.directions import (
    directions_of,
    load_directions,
    projection,
    save_directions,
    scores,
)
from corekit.train.manipulation import chosen_rows, walk, walk_and_save

N, D = 300, 5


@pytest.fixture
def setting(tmp_path):
    """x = a hat + t turn + noise, and a flow z = W x + b."""
    rng = np.random.default_rng(0)
    hat, turn = rng.random(N) < 0.3, rng.normal(size=N) * (rng.random(N) < 0.8)  # some are 0
    x = rng.normal(size=(N, D)) + hat[:, None] * np.arange(D) + turn[:, None] * 2.0 * np.eye(D)[0]
    same = np.ones(N, bool)
    np.savez(tmp_path / "x.npz", x=x.astype(np.float32), hat=hat, turn=turn, same=same, flat=x * 0)
    dataset = Arrays(tmp_path / "x.npz", array="x", held_out=0.2)
    torch.manual_seed(0)
    model = FlowModel(DataSpec((D,)), bijector=Linear).eval()
    torch.nn.init.normal_(model.density.bijector.weight)
    torch.nn.init.normal_(model.density.bijector.bias)
    return model, dataset


def latents_of(model, dataset, split):
    examples = dataset.split(split)
    x = torch.from_numpy(examples.examples(range(len(examples))))
    return model.encode(x).double()


def test_a_direction_is_the_difference_of_means(setting):
    model, dataset = setting
    given = attributes_of(dataset, "train", ["hat"])
    found = directions_of(model, dataset, "train", given)
    z, has = latents_of(model, dataset, "train"), torch.from_numpy(given.values[:, 0]) > 0
    want = z[has].mean(0) - z[~has].mean(0)
    torch.testing.assert_close(found.vectors["hat"], want, rtol=1e-5, atol=1e-6)
    assert found.facts["hat"] == {
        "binary": True,
        "split": "train",
        "examples": 180,
        "positive": int(has.sum()),
    }


def test_a_quantity_has_the_direction_of_a_regression(setting):
    model, dataset = setting
    given = attributes_of(dataset, "train", ["turn"])
    found = directions_of(model, dataset, "train", given)
    z, t = latents_of(model, dataset, "train").numpy(), given.values[:, 0]
    slopes = np.linalg.lstsq(np.stack([t, np.ones_like(t)], 1), z, rcond=None)[0][0]
    np.testing.assert_allclose(found.vectors["turn"], slopes, rtol=1e-5, atol=1e-6)
    assert found.facts["turn"]["mean"] == pytest.approx(t.mean())


def test_the_parts_of_a_sum_do_not_matter(setting, monkeypatch):
    model, dataset = setting
    given = attributes_of(dataset, "train", ["hat", "turn"])
    whole = directions_of(model, dataset, "train", given)
    monkeypatch.setattr(module, "_PIECES", 7)
    monkeypatch.setattr(module, "ROWS", 11)
    parts = directions_of(model, dataset, "train", given)
    for name in whole.vectors:
        torch.testing.assert_close(parts.vectors[name], whole.vectors[name], rtol=1e-5, atol=1e-6)


def test_an_attribute_of_all_or_none_is_refused(setting):
    model, dataset = setting
    given = attributes_of(dataset, "train", ["hat", "same"])
    with pytest.raises(DataError, match="'same': it must be there in some examples and not in oth"):
        directions_of(model, dataset, "train", given)
    with pytest.raises(DataError, match="got 180 of 180 with it"):
        directions_of(model, dataset, "train", given)
    assert set(directions_of(model, dataset, "train", given.only(["hat"])).vectors) == {"hat"}
    still = Attributes(("age",), np.full((180, 1), 3.5), (False,))
    with pytest.raises(
        DataError, match=r"differ between examples of 'train', got 3\.5 for all 180"
    ):
        directions_of(model, dataset, "train", still)


def test_projections_rank_what_they_should(setting):
    """The scores of held-out rows, against scores by hand."""
    model, dataset = setting
    fit, held = (attributes_of(dataset, s, ["hat", "turn"]) for s in ("train", "test"))
    found = directions_of(model, dataset, "train", fit)
    got = scores(model, dataset, "test", found, held)
    z = latents_of(model, dataset, "test")
    hat, turn = held.values.T
    along = projection(z, found.vectors["hat"]).numpy()
    pairs = along[hat > 0][:, None] - along[hat == 0]
    assert got["hat"] == {"examples": 60, "auc": pytest.approx((pairs > 0).mean())}
    along = projection(z, found.vectors["turn"]).numpy()
    pairs = along[turn > 0][:, None] - along[turn < 0]
    assert got["turn"]["auc_of_sign"] == pytest.approx((pairs > 0).mean())
    assert got["turn"]["spearman"] > 0.5
    assert set(got["turn"]) == {"examples", "spearman", "auc_of_sign"}


def test_a_score_of_one_value_is_not_known(setting):
    model, dataset = setting
    found = directions_of(model, dataset, "train", attributes_of(dataset, "train", ["hat", "turn"]))
    held = Attributes(("hat", "turn"), np.ones((60, 2)), (True, True))
    got = scores(model, dataset, "test", found, held)
    assert got["hat"]["auc"] is None
    assert got["turn"] == {"examples": 60, "spearman": None}


def test_a_walk_adds_the_direction(setting):
    model, dataset = setting
    given = attributes_of(dataset, "train", ["hat", "turn"])
    found = directions_of(model, dataset, "train", given)
    weights = {"hat": 1.5, "turn": -1.0}
    got = walk(model, dataset, "val", [4, 0], found, weights, [-1.0, 0.0, 2.0])
    z = latents_of(model, dataset, "val")[[4, 0]]
    v = 1.5 * found.vectors["hat"] - found.vectors["turn"]
    after = model.encode(got.made.flatten(0, 1)).double().reshape(2, 3, D)
    want = z[:, None] + torch.tensor([-1.0, 0.0, 2.0])[:, None] * v
    torch.testing.assert_close(after, want, rtol=1e-4, atol=1e-4)
    for name, vector in (("hat", found.vectors["hat"]), ("together", v)):
        starts = (z @ vector / vector.square().sum()).tolist()
        assert got.starts[name] == pytest.approx(starts, rel=1e-5)


def test_an_absolute_walk_arrives(setting):
    model, dataset = setting
    found = directions_of(model, dataset, "train", attributes_of(dataset, "train", ["hat"]))
    alphas = [-0.5, 0.0, 1.0]
    got = walk(model, dataset, "val", [3, 7], found, {"hat": 2.0}, alphas, absolute=True)
    after = model.encode(got.made.flatten(0, 1)).double()
    arrived = projection(after, 2 * found.vectors["hat"]).reshape(2, 3)
    torch.testing.assert_close(arrived, torch.tensor([alphas] * 2).double(), rtol=0, atol=1e-4)


def test_directions_that_cancel_lead_nowhere(setting):
    model, dataset = setting
    found = directions_of(model, dataset, "train", attributes_of(dataset, "train", ["hat"]))
    with pytest.raises(UsageError, match="must lead somewhere"):
        walk(model, dataset, "val", [0], found, {"hat": 0.0}, [1.0])


def test_the_whole_latent_of_a_flow_of_levels_is_moved(tmp_path):
    """All levels, not the deepest alone."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=images, hat=rng.random(40) < 0.5)
    dataset = Arrays(tmp_path / "x.npz", array="x")
    torch.manual_seed(0)
    bijector = MultiScale((1, 4, 4), levels=2, of=[Squeeze, Linear])
    model = FlowModel(dataset.data_spec, bijector=bijector).eval()
    found = directions_of(model, dataset, "train", attributes_of(dataset, "train", ["hat"]))
    assert found.vectors["hat"].shape == (16,)
    first = found.vectors["hat"][:8]
    assert first.abs().min() > 0
    made = walk(model, dataset, "val", [0], found, {"hat": 1.0}, [0.0, 1.0]).made
    z = model.encode(made[0])
    torch.testing.assert_close((z[1] - z[0])[:8].double(), first, rtol=1e-3, atol=1e-4)


def test_a_decoder_that_draws_gets_the_same_noise_along_a_walk(setting, monkeypatch):
    model, dataset = setting
    found = directions_of(model, dataset, "train", attributes_of(dataset, "train", ["hat"]))
    seen = []

    def decode(z, condition=None, *, generator=None, **options):
        seen.append(generator.normal("noise", (len(z), 3), z))
        return z

    monkeypatch.setattr(model, "decode", decode)
    walk(model, dataset, "val", [2, 5], found, {"hat": 1.0}, [0.0, 1.0], 3)
    for row, noise in zip((2, 5), seen, strict=True):
        assert torch.equal(noise[0], noise[1])
        assert torch.equal(noise[:1], RowDraws(3, [row]).normal("noise", (1, 3), noise))
    assert not torch.equal(seen[0], seen[1])


def test_directions_are_saved_and_loaded(setting, tmp_path):
    model, dataset = setting
    found = directions_of(model, dataset, "train", attributes_of(dataset, "train", ["hat", "turn"]))
    path = tmp_path / "deep" / "found.safetensors"
    save_directions(found, path)
    again = load_directions(path, D)
    assert again.facts == found.facts
    for name, vector in found.vectors.items():
        torch.testing.assert_close(again.vectors[name], vector, rtol=1e-6, atol=0)
    with pytest.raises(CheckpointError, match=r"the 6 numbers of the model's latent, got \(5,\)"):
        load_directions(path, 6)
    save_file({"hat": torch.zeros(D)}, tmp_path / "other.safetensors")
    for name, words in (("other.safetensors", "got other tensors"), ("none", "must be a file of")):
        with pytest.raises(CheckpointError, match=words):
            load_directions(tmp_path / name, D)
    (tmp_path / "broken").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="must be a file of directions"):
        load_directions(tmp_path / "broken", D)


def test_a_walk_is_written_with_its_projections(setting, tmp_path):
    model, dataset = setting
    found = directions_of(model, dataset, "train", attributes_of(dataset, "train", ["hat"]))
    weights, alphas = {"hat": 1.0}, [0.0, 1.0]
    path = walk_and_save(
        model, dataset, tmp_path / "a.b", "val", [4, 0], found, weights, alphas, 0, facts={"k": 1}
    )
    assert path == tmp_path / "a.b.npy"  # there is no picture of five numbers
    assert np.load(path).shape == (2, 2, D)
    told = json.loads((tmp_path / "a.b.json").read_text())
    assert [e["row"] for e in told["examples"]] == [4, 0]
    assert told["examples"][0]["name"] == dataset.split("val").name(4)
    assert told["k"] == 1
    z = latents_of(model, dataset, "val")[4]
    start = (z @ found.vectors["hat"] / found.vectors["hat"].square().sum()).item()
    assert told["examples"][0]["projection"]["hat"] == pytest.approx(start, rel=1e-5)


def test_points_in_the_plane_have_a_panel_for_each_strength(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, hat=x[:, 0] > 0)
    dataset = Arrays(tmp_path / "x.npz", array="x")
    model = FlowModel(DataSpec((2,)), bijector=lambda **given: Chain(**given, of=[Linear])).eval()
    found = directions_of(model, dataset, "train", attributes_of(dataset, "train", ["hat"]))
    path = walk_and_save(
        model, dataset, tmp_path / "w", "val", [0, 1], found, {"hat": 1.0}, [0.0, 1.0], 0, facts={}
    )
    assert path == tmp_path / "w.png"
    assert path.is_file()


def test_rows_are_given_or_spread(setting):
    _, dataset = setting
    assert chosen_rows(dataset, "val", None, 3) == [0, 30, 59]
    assert chosen_rows(dataset, "val", None, 1) == [0]
    assert chosen_rows(dataset, "val", [7, 7], 3) == [7, 7]
    with pytest.raises(UsageError, match=r"must lie in 0 ... 59 of 'val', got 60"):
        chosen_rows(dataset, "val", [0, 60], 3)
