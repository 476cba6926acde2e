"""Shapes are threaded through the model and files are looked for, without torch."""

import pytest

from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, SpecError
from corekit.spec import check_spec, load_spec, place, run_spec
from corekit.spec.flows import ChainSpec, FlowPriorSpec, NormalSpec, RepeatSpec

pytestmark = pytest.mark.usefixtures("toys")


def latent(**parts):
    decoder = {
        "type": "diffusion",
        "denoiser": "toy.denoiser",
        "schedule": {"type": "toy.linear", "steps": 9},
        "loss": "toy.mse",
    }
    model = {"type": "latent", "encoder": "toy.net", "prior": "normal", "decoder": decoder, **parts}
    return run_spec({"version": 1, "model": model, "data": "shapes3d"})


def mismatch(spec):
    with pytest.raises(SpecError) as e:
        check_spec(spec)
    (problem,) = e.value.problems
    assert problem.code == "shape"
    return problem


def test_a_model_that_fits_passes():
    check_spec(latent())
    check_spec(latent(prior=None))
    check_spec(
        latent(
            prior={
                "type": "flow",
                "bijector": "linear",
                "base": {"type": "normal", "features": 256},
            }
        )
    )


def test_a_prior_of_another_width_names_both_places_with_their_lines(write):
    text = """\
        version: 1
        model:
          type: latent
          encoder: {type: toy.net, latent_dim: 256}
          prior: {type: normal, features: 128}
          decoder: gaussian
        data: shapes3d
        """
    with pytest.raises(SpecError) as e:
        check_spec(load_spec(write(text)))
    assert str(e.value) == (
        "spec.yaml:5:35: model.prior.features: normal: features must be 256 for the event shape"
        " (256,), got 128. Leave it out: it is inferred.\n"
        "      prior: {type: normal, features: 128}\n"
        "                                      ^\n"
        "  spec.yaml:4:12: model.encoder: gives the shape\n"
        "      encoder: {type: toy.net, latent_dim: 256}\n"
        "               ^"
    )
    assert e.value.exit_code == 3


def test_a_base_is_compared_with_what_the_bijector_gives():
    flow = {
        "type": "flow",
        "bijector": {"type": "repeat", "times": 2, "of": "toy.squeeze"},
        "base": {"type": "normal", "features": 100},
    }
    spec = run_spec({"version": 1, "model": flow, "data": {"type": "shapes3d", "points": 64}})
    problem = mismatch(spec)
    assert problem.path == ("model", "base", "features")
    assert problem.given_by == ("model", "bijector")
    assert "must be 192 for the event shape (16, 12), got 100" in problem.message


def test_a_member_of_a_chain_blames_the_one_before():
    chain = ChainSpec(of=["toy.squeeze", "toy.keep", "toy.squeeze"])
    assert chain.shape(event_shape=(8, 3)) == (2, 12)
    with pytest.raises(ShapeError, match="must be even, got 3") as e:
        chain.shape(event_shape=(6, 3))
    assert (e.value.path, e.value.given_by) == (("of", 2), ("of", 1))


def test_the_first_member_of_a_chain_blames_who_gave_the_shape_to_the_chain():
    problem = mismatch(
        run_spec(
            {
                "version": 1,
                "model": {"type": "flow", "bijector": {"type": "chain", "of": ["toy.squeeze"]}},
                "data": {"type": "shapes3d", "points": 5},
            }
        )
    )
    assert problem.path == ("model", "bijector", "of", 0)
    assert problem.given_by == ("data",)


def test_a_squeeze_needs_an_image():
    flow = {"type": "flow", "bijector": "squeeze"}
    problem = mismatch(run_spec({"version": 1, "model": flow, "data": "shapes3d"}))
    assert "squeeze: the event must be (channels, height, width)" in problem.message
    assert "got (512, 3)" in problem.message


def test_repeat_threads_the_shape_through_every_copy():
    repeat = RepeatSpec(times=3, of="toy.squeeze")
    assert repeat.shape(event_shape=(8, 1)) == (1, 8)
    with pytest.raises(ShapeError, match="must be even, got 1") as e:
        RepeatSpec(times=4, of=["toy.squeeze"]).shape(event_shape=(8, 1))
    assert (e.value.path, e.value.given_by) == (("of", 0), ("of", 0))


def test_an_inverse_is_known_where_the_shape_stays():
    flow = FlowPriorSpec(bijector={"type": "inverse", "of": "linear"}, base=NormalSpec(features=3))
    with pytest.raises(ShapeError, match="features must be 4"):
        flow.shape(event_shape=(4,))
    squeezed = {"type": "inverse", "of": "toy.squeeze"}
    FlowPriorSpec(bijector=squeezed, base=NormalSpec(features=3)).shape(event_shape=(4,))


def test_the_latent_is_the_condition_of_a_diffusion_decoder():
    problem = mismatch(latent(encoder={"type": "toy.net", "latent_dim": 7}))
    assert problem.path == ("model", "decoder", "denoiser")
    assert problem.given_by == ("model", "encoder")
    assert "got {'vector': (7,)}" in problem.message


def test_nothing_is_claimed_where_a_part_says_nothing():
    check_spec(latent(encoder="toy.vague", prior={"type": "normal", "features": 3}))


def test_the_data_say_their_shape():
    spec = run_spec(
        {
            "version": 1,
            "model": {"type": "flow", "bijector": "linear"},
            "data": {"type": "shapes3d", "points": 9, "size": 5},
        }
    )
    assert spec.data.data_spec() == DataSpec((9, 3), size=5)


def test_a_missing_file_and_a_mismatch_come_together(write):
    text = """\
        version: 1
        model: {type: flow, bijector: toy.keep, base: {type: normal, features: 2}}
        data: {type: toy.file, path: none.h5}
        """
    loaded = load_spec(write(text))
    with pytest.raises(SpecError) as e:
        check_spec(loaded)
    assert [problem.exit_code for problem in e.value.problems] == [3, 5]
    assert e.value.exit_code == 3
    loaded = load_spec("spec.yaml", ["model.base=normal"])
    words = r"spec\.yaml:3:30: data: toy\.file: path must be a file, got 'none\.h5'"
    with pytest.raises(SpecError, match=words) as e:
        check_spec(loaded)
    assert e.value.exit_code == 5


def test_place_keeps_what_a_deeper_level_knew():
    with (
        pytest.raises(ShapeError) as e,
        place("model", given_by="data"),
        place("prior", given_by="encoder"),
        place("of", 1, given_by=("of", 0)),
    ):
        raise ShapeError("must fit")
    assert e.value.path == ("model", "prior", "of", 1)
    assert e.value.given_by == ("model", "prior", "of", 0)
