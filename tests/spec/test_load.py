"""A spec file is read with its bases and `--set`, and every mistake is shown where it stands."""

import pytest
from toy_spec_file import GOOD

from corekit.errors import SpecError, UsageError
from corekit.spec import dump_yaml, load_spec, run_spec

pytestmark = pytest.mark.usefixtures("toys")


def refused(write, text, *sets):
    with pytest.raises(SpecError) as e:
        load_spec(write(text), sets)
    return e.value


def test_a_good_spec_is_read(write):
    loaded = load_spec(write(GOOD))
    assert loaded.spec.train.steps == 10_000
    assert loaded.spec.train.optimizer.lr == 2e-3
    assert loaded.spec.model.loss.kl_weight == 1e-3
    assert str(loaded.positions["model", "encoder", "latent_dim"]) == "spec.yaml:4:40"
    assert loaded.files == ("spec.yaml",)
    assert loaded.text == GOOD


def test_what_is_dumped_is_read_back_to_the_same_spec(write):
    spec = load_spec(write(GOOD)).spec
    assert load_spec(write(dump_yaml(spec), "again.yaml")).spec == spec
    assert "kl: auto" in dump_yaml(spec)


# -- mistakes ------------------------------------------------------------------------------------


def test_a_misspelt_key_is_shown_with_its_line_and_the_right_one(write):
    error = refused(write, GOOD.replace("latent_dim", "latent_dmi"))
    assert str(error) == (
        "spec.yaml:4:28: model.encoder.latent_dmi: unknown key 'latent_dmi';"
        " did you mean 'latent_dim'? (allowed: type, latent_dim, hidden)\n"
        "      encoder: {type: toy.net, latent_dmi: 256}\n"
        "                               ^"
    )
    assert error.exit_code == 3
    assert error.problems[0].suggestions == ("latent_dim",)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "latent_dim: 256",
            "latent_dim: wide",
            "spec.yaml:4:40: model.encoder.latent_dim: must be an integer",
        ),
        (
            "times: 2",
            "times: 0",
            "spec.yaml:7:37: model.prior.bijector.times: must be greater than or equal to 1, got 0",
        ),
        (
            "of: linear",
            "of: liner",
            "spec.yaml:7:44: model.prior.bijector.of: No bijector named 'liner'. Did you mean",
        ),
        (
            ", steps: 200",
            "",
            "spec.yaml:11:15: model.decoder.schedule.steps: required key 'steps' is missing",
        ),
        ("lr: 2e-3", "lr: .nan", "spec.yaml:15:49: train.optimizer.lr: must be a finite number"),
        ("version: 1", "version: 2", "spec.yaml:1:10: version: must be 1, the version that core"),
        ("version: 1", "version: '1'", "got '1'. Write `version: 1`."),
        ("version: 1", "version: true", "got True. Write `version: 1`."),
        ("version: 1\n", "", "spec.yaml:1:1: version: required key 'version' is missing"),
        ("type: latent", "tipe: latent", "model: missing key 'type', which model it is. Is 'tipe'"),
        ("data: shapes3d", "data: 3", "data: must be the name of one dataset, or a mapping"),
        ("steps: 1e4", "steps: 1.5", "train.steps: must be an integer, got 1.5"),
        ("steps: 1e4", "steps: true", "15:16: train.steps: must be an integer, got True"),
        ("lr: 2e-3", "lr: true", "train.optimizer.lr: must be a number, got True"),
        ("lr: 2e-3", "lr: '2e-3'", "train.optimizer.lr: must be a number, got '2e-3'"),
        ("lr: 2e-3", "betas: [0.9, true]", "train.optimizer.betas[1]: must be a number, got True"),
        ("lr: 2e-3", "betas: ['0.9', 1.0e-1]", "optimizer.betas[0]: must be a number, got '0.9'"),
        ("lr: 2e-3", "lr: no", "train.optimizer.lr: must be a number, got 'no'"),
        ("steps: 1e4", "ema: false", "train.ema: must be a number, got False"),
        ("steps: 1e4", "keep_best: nll", "keep_best must have evaluations to choose by, got 'nll'"),
        ("of: linear", "of: []", "bijector.of: must have at least 1 of them, got []"),
    ],
)
def test_a_mistake_names_its_place_its_rule_and_its_value(write, old, new, line):
    assert old in GOOD
    error = refused(write, GOOD.replace(old, new))
    assert len(error.problems) == 1
    assert line in str(error)
    assert error.exit_code == 3


def test_all_mistakes_come_in_one_report_sorted_by_line(write):
    text = GOOD.replace("latent_dim: 256", "latent_dim: no").replace("lr: 2e-3", "rl: 2")
    text = text.replace("kl_weight: 1e-3", "kl_weight: 1, kl_weight: 2")
    error = refused(write, text.replace("data: shapes3d", "data: glow.images"))
    assert [problem.position.line for problem in error.problems] == [4, 13, 14, 15]
    assert [problem.exit_code for problem in error.problems] == [3, 3, 4, 3]
    assert error.exit_code == 3


def test_a_missing_plugin_alone_has_its_own_exit_code(write):
    error = refused(write, GOOD.replace("of: linear", "of: realnvp.affine_coupling"))
    assert error.exit_code == 4
    assert "pip install corekit-realnvp" in str(error)


def test_a_plugin_whose_spec_cannot_be_imported_is_named(write):
    error = refused(write, GOOD + "metrics: [toy.unimportable]\n")
    assert error.exit_code == 4
    assert "spec.yaml:16:11: metrics[0]: corekit-toy 0.3: metric 'toy.uni" in str(error)


def test_a_broken_plugin_is_quoted(write, fake_distribution, discovered):
    from corekit.registry import use_registry

    fake_distribution("glow", "import einops_not_there")
    with use_registry(discovered()):
        error = refused(write, "version: 1\nmodel: glow.model\ndata: shapes3d\n")
    assert error.exit_code == 4
    assert "corekit-glow 0.2 failed to import: ModuleNotFoundError: No module named 'ein" in str(
        error
    )


def test_a_value_that_no_branch_of_a_union_takes_is_one_problem(write):
    text = GOOD.replace("data: shapes3d", "data: {type: toy.file, path: x, categories: 3}")
    error = refused(write, text)
    assert len(error.problems) == 1
    assert str(error).startswith("spec.yaml:14:45: data.categories: must be a list, got 3; or")
    assert "; or must be 'all', got 3" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "spec.yaml:1:1: the file is empty"),
        ("just text", "spec.yaml:1:1: a spec must be a mapping, got 'just text'"),
        ("- 1", "a spec must be a mapping, got [1]"),
        ("{}", "required key 'version' is missing"),
    ],
)
def test_something_that_is_no_spec_is_refused(write, text, words):
    assert words in str(refused(write, text))


def test_a_spec_that_is_not_there_is_a_mistake_of_usage(write, tmp_path):
    write("")
    with pytest.raises(UsageError, match=r"none\.yaml: No such file"):
        load_spec("none.yaml")
    with pytest.raises(UsageError, match="Is a directory"):
        load_spec(tmp_path)


def test_bytes_that_are_no_text_are_refused(write, tmp_path):
    (tmp_path / write("")).write_bytes(b"version: \xff\xfe")
    with pytest.raises(SpecError, match=r"spec\.yaml:1:1: the spec must be UTF-8 text"):
        load_spec("spec.yaml")


# -- python --------------------------------------------------------------------------------------


def test_a_mapping_is_validated_like_a_file():
    with pytest.raises(SpecError, match="data: required key 'data' is missing") as e:
        run_spec({"version": 1, "model": {"type": "flow", "bijector": "liner"}})
    assert len(e.value.problems) == 2


def test_a_spec_passes_through():
    spec = run_spec(
        {"version": 1, "model": {"type": "flow", "bijector": "linear"}, "data": "shapes3d"}
    )
    assert run_spec(spec) is spec
