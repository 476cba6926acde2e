"""The section `stages`: laid on `train`, every mistake told once and where it stands."""

import pytest

from corekit.errors import SpecError
from corekit.spec import dump_yaml, load_spec, run_spec
from corekit.spec.merge import merge_plain
from corekit.spec.optimizers import AdamSpec
from corekit.spec.train import TrainSpec

FLOW = {"version": 1, "model": {"type": "flow", "bijector": "linear"}, "data": "toy2d"}
TRAIN = {"steps": 5, "ema": 0.9, "optimizer": {"type": "adam", "lr": 0.01, "eps": 1e-5}}


def stages(*stages, train=TRAIN):
    return run_spec({**FLOW, "train": train, "stages": [*stages]}).stages


def problems(*given, train=TRAIN):
    with pytest.raises(SpecError) as caught:
        stages(*given, train=train)
    return {".".join(map(str, p.path)): p.message for p in caught.value.problems}


def test_a_stage_is_laid_on_train_as_a_file_on_its_base():
    one, two, three = stages(
        {"name": "a"},
        {"name": "b", "train": {"optimizer": {"lr": 0.5}, "ema": None}},
        {"name": "c", "train": {"optimizer": "sgd", "steps": 7}},
    )
    assert one.train == TrainSpec.model_validate(TRAIN)
    assert (two.train.optimizer.lr, two.train.optimizer.eps, two.train.ema) == (0.5, 1e-5, None)
    assert (three.train.optimizer.type, three.train.steps, three.train.ema) == ("sgd", 7, 0.9)


def test_parts_and_cache_are_short_for_those_of_train():
    train = {**TRAIN, "parts": ["density.*"]}
    one, two = stages({"name": "a"}, {"name": "b", "parts": ["x"], "cache": True}, train=train)
    assert (one.train.parts, one.train.cache) == (["density.*"], False)
    assert (two.train.parts, two.train.cache) == (["x"], True)


def test_specs_in_python_may_be_instances():
    train = TrainSpec(steps=5, optimizer=AdamSpec(lr=0.1))
    (one,) = stages({"name": "a", "train": {"optimizer": {"eps": 1e-3}}}, train=train)
    assert (one.train.steps, one.train.optimizer.lr, one.train.optimizer.eps) == (5, 0.1, 1e-3)
    (again,) = stages(one, train=train)
    assert again == one


def test_what_is_written_is_read_back_the_same(tmp_path):
    short = {"name": "b", "parts": ["x"], "train": {"optimizer": "sgd", "ema": None}}
    spec = run_spec({**FLOW, "train": TRAIN, "stages": [{"name": "a"}, short]})
    (tmp_path / "spec.yaml").write_text(dump_yaml(spec))
    assert load_spec(tmp_path / "spec.yaml").spec == spec
    alone = spec.of_stage(spec.stages[1])
    assert (alone.stages, alone.train) == ([], spec.stages[1].train)


def test_every_mistake_is_told_once_and_where_it_stands():
    found = problems(
        {"name": "a b", "train": {"step": 1}},
        {"nam": "b", "parts": []},
        3,
        {"name": "c", "parts": ["x"], "train": {"parts": ["y"]}},
        {"name": "d", "train": {"keep_best": "loss"}},
        train={"steps": "wide", "evaluate_every": 5},
    )
    assert set(found) == {
        "train.steps",
        "stages.0.name",
        "stages.0.train.step",
        "stages.1.name",
        "stages.1.nam",
        "stages.1.parts",
        "stages.2",
        "stages.3",
    }
    assert found["stages.0.name"] == "must be letters, digits, '-', '_' and '.', got 'a b'"
    assert "did you mean 'steps'?" in found["stages.0.train.step"]
    words = "`parts` must be written once, got ['x'] and, in `train`, ['y']"
    assert found["stages.3"] == words


def test_two_stages_of_one_name_are_refused():
    found = problems({"name": "a"}, {"name": "b"}, {"name": "a"})
    assert found == {"stages": "stages must have different names, got 'a' twice"}


def test_a_mistake_in_a_stage_is_shown_in_the_file(tmp_path):
    text = "version: 1\nmodel: {type: flow, bijector: linear}\ndata: toy2d\n"
    text += "stages:\n  - {name: a, train: {batch_size: 0}}\n"
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"spec.yaml:5:35: stages\[0\].train.batch_size: must be"):
        load_spec(tmp_path / "spec.yaml")


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"o": "adam"}, {"o": {"lr": 1}}, {"o": {"type": "adam", "lr": 1}}),
        ({"o": "adam"}, {"o": {"type": "sgd"}}, {"o": {"type": "sgd"}}),
        ({"o": {"type": "adam", "lr": 1}}, {"o": "adam"}, {"o": "adam"}),
        ({"o": [1, 2]}, {"o": [3]}, {"o": [3]}),
        ({"o": AdamSpec(lr=2)}, {"o": {"eps": 1}}, {"o": {"type": "adam", "lr": 2, "eps": 1}}),
    ],
)
def test_plain_data_are_merged_as_files_are(base, over, merged):
    assert merge_plain(base, over) == merged
