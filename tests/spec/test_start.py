"""A spec to start from is valid as written, and every default in it is one."""

import re

import pytest
from jsonschema import Draft7Validator

from corekit.errors import PluginError, RegistryLookup, SpecError, UsageError
from corekit.registry import Registry, use_registry
from corekit.spec import check_spec, load_spec, run_spec
from corekit.spec.commented import commented
from corekit.spec.schema import run_schema
from corekit.spec.start import STARTS, start
from corekit.spec.yaml12 import parse

MODELS = ["flow", "diffusion", "latent"]


@pytest.fixture
def core():
    with use_registry(Registry()) as found:
        yield found


def written(block, write):
    name = write(commented(block), "start.yaml")
    loaded = load_spec(name)
    check_spec(loaded)
    return loaded


# -- valid as written --------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_it_says_what_was_chosen_and_is_valid(model, write):
    block = start(model)
    loaded = written(block, write)
    assert loaded.spec == run_spec(block)
    assert loaded.spec.model.type == model
    tree, _ = parse(loaded.text, "start.yaml")
    assert tree.plain() == block  # nothing but what was chosen is written
    assert Draft7Validator(run_schema().document).is_valid(block)


@pytest.mark.parametrize("model", MODELS)
def test_every_comment_that_is_a_default_may_be_switched_on(model, write):
    """Removing `# ` changes nothing, and then no field is left out."""
    block = start(model)
    text = commented(block)
    switched = re.sub(r"^( *)# (\w+: .*)$", r"\1\2", text, flags=re.MULTILINE)
    assert switched.count("\n") == text.count("\n")
    assert switched != text
    loaded = load_spec(write(switched, "all.yaml"))
    assert loaded.spec == run_spec(block)
    assert loaded.spec.train.model_fields_set == set(type(loaded.spec.train).model_fields)
    assert loaded.spec.data.model_fields_set == set(type(loaded.spec.data).model_fields)
    assert loaded.spec.model_fields_set == set(type(loaded.spec).model_fields)


@pytest.mark.parametrize("model", MODELS)
def test_every_line_says_what_it_means(model):
    lines = [line for line in commented(start(model)).splitlines()[6:] if line]
    for line in lines:
        code, _, meaning = line.rpartition("  # ")
        assert code.strip(), line
        assert meaning, line


def test_comments_of_a_block_stand_below_each_other():
    text = commented(start("flow"))
    block = text[text.index("data:") : text.index("\ntrain:")].splitlines()
    assert len({line.rindex("  # ") for line in block if line}) == 1


def test_with_core_alone_a_flow_is_there(core, write):
    spec = written(start("flow"), write).spec
    assert (spec.data.type, spec.model.bijector.type) == ("toy2d", "repeat")


def test_a_coupling_is_preferred_where_it_is_installed():
    assert "realnvp.affine_coupling" in start("flow")["model"]["bijector"]["of"]
    assert start("flow")["data"] == {"type": "toy2d"}
    assert start("latent")["model"]["decoder"]["type"] == "diffusion"
    assert start("latent")["model"]["prior"] == "normal"


# -- what was asked for ------------------------------------------------------------------------


def test_data_and_values_are_those_that_were_asked_for(write):
    spec = written(start("diffusion", "shapes3d", ["data.points=64", "train.ema=0.9"]), write).spec
    assert (spec.data.points, spec.train.ema) == (64, 0.9)
    spec = written(start("flow", sets=["data.density=rings"]), write).spec
    assert spec.data.density == "rings"


def test_parts_are_looked_for_that_fit_the_values(write):
    """`points` is a field of shapes3d and not of toy2d, which would come first."""
    assert start("diffusion", sets=["data.points=64"])["data"]["type"] == "shapes3d"
    block = start("latent", sets=["model.decoder=gaussian"])
    assert written(block, write).spec.model.decoder.type == "gaussian"


def test_a_file_that_is_not_there_yet_is_left_to_the_reader(write):
    write("")
    block = start("latent", "pointcloud.hdf5")
    assert block["data"] == {"type": "pointcloud.hdf5", "path": "<path>"}
    with pytest.raises(SpecError) as e:
        check_spec(run_spec(block))
    assert e.value.exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("flwo",), RegistryLookup, r"No model named 'flwo'\. Did you mean 'flow'"),
        (("flow", "toy3d"), RegistryLookup, r"No dataset named 'toy3d'\. Did you mean"),
        (("flow", None, ["train.stepz=3"]), SpecError, r"train: unknown key|train\.stepz: unknown"),
        (("flow", None, ["train"]), UsageError, "must be path=value"),
        (
            ("diffusion", "toy2d", ["model.denoiser=pointcloud.pointwise"]),
            SpecError,
            r"pointwise: the event must be .* got \(2,\)",
        ),
    ],
)
def test_what_cannot_be_is_explained(arguments, error, words):
    with pytest.raises(error, match=words):
        start(*arguments)


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("latent", r"none of the kind encoder\. Install some: pip install corekit-pointcloud-diff"),
        ("diffusion", r"denoiser, noise_schedule, denoising_loss\. Install .*corekit-ddpm-improv"),
    ],
)
def test_what_is_missing_is_named_with_the_line_that_brings_it(model, words):
    with pytest.raises(PluginError, match=words):
        start(model)


def test_the_parts_of_any_plugin_will_do_from_its_examples(toys, write):
    """Nothing is known of the toys: they are found, with the examples that their fields give."""
    block = start("latent")
    assert block["model"]["encoder"] == "toy.net"
    assert block["model"]["decoder"]["schedule"] == {"type": "toy.linear", "steps": 100}
    written(block, write)


def test_the_names_that_it_prefers_exist():
    """Of every package that is here; the table names others too."""
    from corekit.registry import registry

    plugins = {plugin.name for plugin in registry().plugins}
    for kind, items in STARTS.items():
        for item in items:
            name = item if isinstance(item, str) else item["type"]
            if "." not in name or name.partition(".")[0] in plugins:
                assert name in registry().names(kind), name
