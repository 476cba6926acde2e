"""`extends:` and `--set` put specs together, and keep the place of every value."""

import pytest
from toy_spec_file import GOOD

from corekit.errors import SpecError, UsageError
from corekit.spec import load_spec

pytestmark = pytest.mark.usefixtures("toys")


def refused(write, text, *sets):
    with pytest.raises(SpecError) as e:
        load_spec(write(text), sets)
    return e.value


# -- extends -------------------------------------------------------------------------------------


def test_a_file_extends_another(write):
    write(GOOD, "base.yaml")
    name = write("extends: base.yaml\ntrain: {optimizer: {lr: 1e-4}, seed: 3}\n")
    loaded = load_spec(name)
    assert loaded.spec.train.optimizer.lr == 1e-4
    assert loaded.spec.train.seed == 3
    assert loaded.spec.train.steps == 10_000
    assert loaded.files == ("base.yaml", "spec.yaml")
    assert loaded.positions["train", "seed"].file == "spec.yaml"
    assert loaded.positions["train", "steps"].file == "base.yaml"


def test_a_block_of_another_type_replaces_the_whole_block(write):
    write(GOOD, "base.yaml")
    loaded = load_spec(write("extends: base.yaml\nmodel: {prior: {type: normal}}\n"))
    assert loaded.spec.model.prior.type == "normal"
    assert loaded.spec.model.encoder.type == "toy.net"


def test_options_can_be_added_to_a_component_that_the_base_only_names(write):
    write(GOOD, "base.yaml")
    loaded = load_spec(write("extends: base.yaml\ndata: {points: 64}\n"))
    assert (loaded.spec.data.type, loaded.spec.data.points) == ("shapes3d", 64)


def test_later_bases_overrule_earlier_ones(write, tmp_path):
    (tmp_path / "sub").mkdir()
    write(GOOD, "base.yaml")
    write("extends: ../base.yaml\ntrain: {seed: 1, keep: 5}\n", "sub/one.yaml")
    write("train: {seed: 2}\n", "two.yaml")
    spec = load_spec(write("extends: [sub/one.yaml, two.yaml]\n")).spec
    assert (spec.train.seed, spec.train.keep) == (2, 5)


def test_a_mistake_in_a_base_is_shown_in_the_base(write):
    write(GOOD.replace("lr:", "rl:"), "base.yaml")
    error = refused(write, "extends: base.yaml\ntrain: {sed: 1}\n")
    assert [problem.position.file for problem in error.problems] == ["spec.yaml", "base.yaml"]


@pytest.mark.parametrize(
    ("extends", "words"),
    [
        ("none.yaml", "spec.yaml:1:10: extends: the base cannot be read: none.yaml: No such file"),
        ("spec.yaml", "spec.yaml:1:10: extends: spec.yaml extends this file"),
        ("circle.yaml", "circle.yaml:1:10: extends: spec.yaml extends this file"),
        ("[3]", "spec.yaml:1:11: extends: must be the path of a file or a list of them, got 3"),
    ],
)
def test_a_base_that_cannot_be_used_is_shown_beside_other_mistakes(write, extends, words):
    write("extends: spec.yaml\n", "circle.yaml")
    error = refused(write, f"extends: {extends}\n{GOOD.replace('lr:', 'rl:')}")
    assert words in str(error)
    assert "unknown key 'rl'" in str(error)


# -- set -----------------------------------------------------------------------------------------


def test_set_overrules_the_file(write):
    sets = ["train.steps=5", "model.prior={type: normal}", "data.points=64", "train.ema=0.99"]
    spec = load_spec(write(GOOD), sets).spec
    assert spec.train.steps == 5
    assert spec.model.prior.type == "normal"
    assert spec.data.points == 64
    assert spec.train.ema == 0.99


def test_set_reaches_into_lists(write):
    text = GOOD.replace("of: linear", "of: [linear, linear]")
    sets = ["model.prior.bijector.of[1].bias=false"]
    loaded = load_spec(write(text), sets)
    assert [member.bias for member in loaded.spec.model.prior.bijector.of] == [True, False]


def test_an_empty_value_is_null(write):
    assert load_spec(write(GOOD), ["model.prior="]).spec.model.prior is None


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("train.stps=5", "--set #1:1:1: train.stps: unknown key 'stps'; did you mean 'steps'"),
        ("train.steps=x", "train.steps: must be an integer"),
        ("train={stps: 5}", "--set #1:1:8: train.stps: unknown key 'stps'"),
        ("train.steps=[1", "--set #1:1:1"),
        ("model.prior.type=normal", "--set model.prior.type=… keeps the other keys"),
        ("data.path.x=1", "data.path: unknown key 'path'"),
    ],
)
def test_a_mistake_in_set_points_into_the_argument(write, argument, words):
    error = refused(write, GOOD, argument)
    assert words in str(error)
    assert error.exit_code == 3


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("train.steps", r"--set #2: must be path=value, got 'train\.steps'"),
        ("train..steps=1", r"must be path=value like .*, got 'train\.\.steps=1'"),
        ("=1", "must be path=value"),
        ("train[0]=1", r"no item \[0\]; the place has no list"),
        ("model.prior.bijector.of[3]=linear", r"no item \[3\]; the place has no list"),
        ("metrics[2]=toy.x", r"no item \[2\]; the place has 0 items"),
        ("version.x=1", "no key 'x' below 1"),
    ],
)
def test_a_set_that_leads_nowhere_is_a_mistake_of_usage(write, argument, words):
    with pytest.raises(UsageError, match=words):
        load_spec(write(GOOD + "metrics: []\n"), ["train.seed=1", argument])
