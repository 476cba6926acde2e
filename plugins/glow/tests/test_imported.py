"""Checkpoints of ports become models whose bits per dimension are the port's."""

import math

import pytest
import torch
from corekit_glow.chaiyujin import ChaiyujinImporter, Y0astImporter
from corekit_glow.rosinality import RosinalityImporter

from corekit.build import build
from corekit.data_spec import pixel_spec
from corekit.errors import CheckpointError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Condition
from corekit.spec import run_spec

EXACT = {"rtol": 0, "atol": 1e-5}
PLAIN, LU = "c01_plain_affine_8x8x3", "c02_lu_affine_learntop_8x8x3"
ADDITIVE = "c05_lu_additive_16x16x1"
ROSINALITY = "r01_rosinality_lu_affine_8x8x3"


def under(arrays, prefix):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def model_of(importer, state, folder, shape, wrapped=None):
    """The model of the spec that a checkpoint becomes, with its weights."""
    torch.save(state if wrapped is None else {"global_step": 7, wrapped: state}, folder / "port.pt")
    imported = importer(folder / "port.pt")
    spec = run_spec(dict(imported.spec))
    model = build(spec, data=pixel_spec(shape, (0.0, 1.0), bits=spec.data.bits)).eval()
    model.load_state_dict(dict(imported.state))
    return model, imported


def bits_of(model, levels, u):
    """Bits per dimension of levels, with this noise."""
    x = levels / (model.data.levels - 1)
    with torch.no_grad():
        return model.bits_per_dim(x, generator=GivenDraws({"dequantize": u}))


@pytest.mark.parametrize("depth", [8, 5])
@pytest.mark.parametrize("name", [PLAIN, LU, ADDITIVE])
def test_a_port_that_saw_centred_data_has_its_bits(golden, name, depth, tmp_path):
    arrays = golden(name)
    importer = ChaiyujinImporter(inputs="centred", bits=depth)
    shape = arrays["x_uint8"].shape[1:]
    model, imported = model_of(importer, under(arrays, "std/sd/"), tmp_path, shape, "graph")
    levels = arrays["x_uint8"].div(2 ** (8 - depth), rounding_mode="floor").float()
    found = bits_of(model, levels, arrays[f"std/uniform{depth}/u"])
    torch.testing.assert_close(found, arrays[f"std/uniform{depth}/bpd"], **EXACT)
    bijector = imported.spec["model"]["bijector"]
    assert (bijector["floor"], bijector["max_log_std"]) == (0.0, None)
    assert imported.spec["data"]["bits"] == depth
    assert "prior_h" in imported.dropped


@pytest.mark.parametrize("name", [PLAIN, LU, ADDITIVE])
def test_a_port_that_saw_levels_over_255_has_its_density(golden, name, tmp_path):
    """What it saw is y = (level + e) / 255, where ours sees v = (level + e + 1/2) / 256."""
    arrays = golden(name)
    shape = arrays["x_uint8"].shape[1:]
    model, _ = model_of(ChaiyujinImporter(), under(arrays, "sd/"), tmp_path, shape)
    v = (arrays["ref/flow_input"] * 255 + 0.5) / 256
    with torch.no_grad():
        found = model.density.log_prob(v).value / math.prod(shape)
    stretched = arrays["flow_objective_nats"] / math.prod(shape) + math.log(256 / 255)
    torch.testing.assert_close(found, stretched, **EXACT)


def test_a_port_of_classes_has_its_bits(golden, tmp_path):
    """Of y0ast, with what its loaders give: levels of 8 bits, centred."""
    arrays = golden("y01_y0ast_lu_affine_8x8x3")
    torch.save(under(arrays, "sd/"), tmp_path / "port.pt")
    imported = Y0astImporter()(tmp_path / "port.pt")
    data = pixel_spec((3, 8, 8), (0.0, 1.0), condition_shapes={"labels": ()})
    model = build(run_spec(dict(imported.spec)), data=data).eval()
    model.load_state_dict(dict(imported.state))
    given = Condition(labels=arrays["y"])
    with torch.no_grad():
        found = model.bits_per_dim(
            arrays["x_uint8"] / 255, given, generator=GivenDraws({"dequantize": arrays["u"]})
        )
    torch.testing.assert_close(found, arrays["bpd"], **EXACT)


# rosinality's


def whole(state, *, module="", steps=None):
    """The same flow, its 1x1 convolutions as plain matrices in these steps, or in all."""
    found = dict(state)
    for key in state:
        if key.endswith("w_l") and (steps is None or any(step in key for step in steps)):
            at = key.removesuffix("w_l")
            lower = state[key] * state[f"{at}l_mask"] + torch.eye(len(state[key]))
            diagonal = (state[f"{at}s_sign"] * state[f"{at}w_s"].exp()).diag()
            upper = state[f"{at}w_u"] * state[f"{at}u_mask"] + diagonal
            weight = state[f"{at}w_p"] @ lower @ upper
            found = {k: v for k, v in found.items() if not k.startswith(at)}
            found[f"{at}weight"] = weight[:, :, None, None]
    return {module + k: v for k, v in found.items()}


def turned(state, channel=1):
    """The same flow, a channel of each ActNorm negative and turned back by the convolution."""
    found = {k: v.clone() for k, v in state.items()}
    for key in state:
        if key.endswith("actnorm.scale"):
            found[key][:, channel] *= -1
            found[key.replace("actnorm.scale", "invconv.weight")][:, channel] *= -1
    return found


FORMS = {
    "as it is": lambda state: state,
    "of several devices": lambda state: {f"module.{k}": v for k, v in state.items()},
    "plain": whole,
    "plain but the last": lambda state: whole(state, steps=["flows.0.invconv"]),
    "plain, negative scales": lambda state: turned(whole(state)),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_of_the_same_flow_has_the_same_bits(golden, form, tmp_path):
    arrays = golden(ROSINALITY)
    state = FORMS[form](under(arrays, "sd/"))
    model, imported = model_of(RosinalityImporter(bits=8), state, tmp_path, (3, 8, 8))
    found = bits_of(model, arrays["x_uint8"].float(), arrays["u"])
    torch.testing.assert_close(found, arrays["bpd"], **EXACT)
    assert imported.spec["model"]["bijector"]["mixing"] == ("plain" if "plain" in form else "lu")


def test_negative_scales_before_factors_are_taken_on_by_other_factors(golden, tmp_path):
    arrays = golden(ROSINALITY)
    state = {k: v.clone() for k, v in under(arrays, "sd/").items()}
    for key in state:
        if key.endswith("actnorm.scale"):
            state[key][:, 2] *= -1
    bits = []
    for each in (state, whole(state)):
        model, _ = model_of(RosinalityImporter(), each, tmp_path, (3, 8, 8))
        bits.append(bits_of(model, arrays["x_uint8"].div(8).floor(), arrays["u"]))
    torch.testing.assert_close(*bits, **EXACT)
    before, _ = model_of(RosinalityImporter(), under(arrays, "sd/"), tmp_path, (3, 8, 8))
    assert before.data.levels == 32  # the port's default, 5 bits
    without = bits_of(before, arrays["x_uint8"].div(8).floor(), arrays["u"])
    assert not torch.allclose(bits[0], without, atol=1e-3)


def test_an_additive_flow_is_known_by_its_networks(golden, tmp_path):
    arrays = golden(ROSINALITY)
    state = under(arrays, "sd/")
    for key, value in state.items():
        if ".net.4." in key:
            axis = 1 if key.endswith("scale") else 0
            state[key] = value.chunk(2, dim=axis)[1].clone()
    model, imported = model_of(RosinalityImporter(), state, tmp_path, (3, 8, 8))
    assert imported.spec["model"]["bijector"]["coupling"] == "additive"
    bijector, x = model.density.bijector, torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        z, _ = bijector(x)
        torch.testing.assert_close(bijector.inverse(z)[0], x, rtol=0, atol=1e-5)


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    for importer in (ChaiyujinImporter(), RosinalityImporter()):
        with pytest.raises(CheckpointError, match="must be the state dict of a Glow of this port"):
            importer(tmp_path / "other.pt")
