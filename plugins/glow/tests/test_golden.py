"""The flow equals the reference: latents, bits per dimension, samples, gradients, training."""

import math

import pytest
import torch
from corekit_glow.chaiyujin import ChaiyujinImporter, Y0astImporter
from corekit_glow.flow import Glow
from corekit_glow.ports import bijector_state
from corekit_glow.rosinality import RosinalityImporter
from torch.nn.functional import one_hot

from corekit.errors import CheckpointError
from corekit.flows.multiscale import joined, levels

FILES = [
    "c01_plain_affine_8x8x3",
    "c02_lu_affine_learntop_8x8x3",
    "c04_reverse_affine_8x8x3",
    "c05_lu_additive_16x16x1",
    "c06_plain_affine_ycond_16x16x1",
    "c08_plain_affine_nonsquare_16x8x3_scale0.5",
]
PORT = ChaiyujinImporter(permutation="reverse")


def under(arrays, prefix):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def model(arrays, weights, port=PORT, dtype=torch.float32, **options):
    """The flow with the weights that a port has under a name, and its condition."""
    found = port.found(under(arrays, f"{weights}/"), "golden")
    context = None
    if "weight" in found.top:
        context = one_hot(arrays["y"], found.top["weight"].shape[1]).to(dtype)
    shape = next(v.shape[1:] for k, v in arrays.items() if k == "x_uint8")
    flow = Glow(
        tuple(shape),
        None if context is None else tuple(context.shape[1:]),
        levels=len(found.steps),
        steps=len(found.steps[0]),
        floor=0.0,
        max_log_std=None,
        **found.options,
        **options,
    )
    flow.load_state_dict(bijector_state(found))
    return flow.to(dtype).eval(), context


def log_prob(flow, x, context):
    z, logdet = flow(x, context)
    return -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi) + logdet


def bits(flow, x, context, levels=256):
    size = x[0].numel()
    return math.log2(levels) - log_prob(flow, x, context) / (size * math.log(2))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("depth", [8, 5])
def test_bits_and_all_latents_are_those_of_the_reference(golden, name, depth):
    arrays = golden(name)
    flow, context = model(arrays, "std/sd")
    at = f"std/uniform{depth}"
    x = arrays[f"{at}/flow_input"]
    with torch.no_grad():
        z, _ = flow(x, context)
        found = bits(flow, x, context, 2**depth)
    torch.testing.assert_close(found, arrays[f"{at}/bpd"], rtol=0, atol=1e-5)
    *left, top = levels(flow, z)
    torch.testing.assert_close(top, arrays[f"{at}/eps_top"], rtol=1e-6, atol=5e-6)
    for i, level in enumerate(left):
        torch.testing.assert_close(level, arrays[f"{at}/eps_split/{i}"], rtol=1e-6, atol=5e-6)


@pytest.mark.parametrize("name", FILES)
def test_float64_is_the_truth(golden, name):
    arrays = golden(name)
    flow, context = model(arrays, "std/sd", dtype=torch.float64)
    x = arrays["std/uniform8/flow_input"].double()
    with torch.no_grad():
        found = log_prob(flow, x, context)
        back, _ = flow.inverse(flow(x, context)[0], context)
        ours = bits(flow, x, context)
    truth = under(arrays, "std/f64_uniform8/")
    torch.testing.assert_close(found, truth["objective_nats"], rtol=0, atol=1e-10)
    torch.testing.assert_close(ours, truth["bpd"], rtol=0, atol=1e-10)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", FILES)
def test_what_the_reference_prints_is_not_bits_but_leads_to_them(golden, name):
    arrays = golden(name)
    flow, context = model(arrays, "sd")
    with torch.no_grad():
        ours = bits(flow, arrays["ref/flow_input"], context)
    channels = arrays["x_uint8"].shape[1]
    torch.testing.assert_close(ours, arrays["bpd_from_ref_noise"], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours, 8 + (arrays["ref/nll_ref"] - 8) / channels, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_latents_decode_to_the_reference_at_any_temperature(golden, name):
    arrays = golden(name)
    flow, context = model(arrays, "sd")
    given = under(arrays, "dec/sample_T0.7/")
    deepest_first = [given[k] for k in sorted(given) if k.startswith("split_eps")]
    z = joined(flow, [0.7 * eps for eps in (*reversed(deepest_first), given["top_eps"])])
    with torch.no_grad():
        torch.testing.assert_close(flow.inverse(z, context)[0], given["x"], rtol=1e-5, atol=1e-5)
        # every latent is kept, so decoding what was encoded is exact; the reference's 0.16 is not
        x = arrays["ref/flow_input"]
        back, _ = flow.inverse(flow(x, context)[0], context)
    torch.testing.assert_close(back, x, rtol=0, atol=5e-6)


@pytest.mark.parametrize("name", FILES)
def test_it_starts_from_data_as_the_reference_does(golden, name):
    arrays = golden(name)
    scale = 0.5 if "scale0.5" in name else 1.0
    flow, context = model(arrays, "sd_init", actnorm_scale=scale)
    with torch.no_grad():
        for key, value in flow.named_buffers():
            if key.endswith("initialised"):
                value.fill_(False)
    x = arrays["x_uint8_init"] / 255 + arrays["init/dequant_eps"] / 256
    flow.initialize(x, context)
    want, _ = model(arrays, "sd_actnorm")
    for (key, ours), theirs in zip(
        flow.state_dict().items(), want.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=5e-5, msg=key)


@pytest.mark.parametrize("name", FILES)
def test_gradients_are_those_of_the_reference(golden, name):
    arrays = golden(name)
    flow, context = model(arrays, "std/sd")
    loss = bits(flow, arrays["std/uniform8/flow_input"], context).mean()
    torch.testing.assert_close(loss, arrays["std/grad_loss"], rtol=0, atol=1e-5)
    loss.backward()
    # gradients under our names: they are laid out as the weights are
    theirs = {**under(arrays, "std/sd/"), **under(arrays, "std/grad/")}
    found = PORT.found(theirs, "golden")
    want = bijector_state(found)
    for key, parameter in flow.named_parameters():
        torch.testing.assert_close(parameter.grad, want[key], rtol=1e-5, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", FILES)
def test_four_steps_of_adamax_are_those_of_the_reference(golden, name):
    arrays = golden(name)
    flow, context = model(arrays, "std/sd")
    optimizer = torch.optim.Adamax(flow.parameters(), lr=1e-3)
    for want in arrays["std/adamax_losses"]:
        loss = bits(flow, arrays["std/uniform8/flow_input"], context).mean()
        assert loss.item() == pytest.approx(want.item(), abs=1e-4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_rosinality_gives_the_same_bits_and_samples(golden):
    arrays = golden("r01_rosinality_lu_affine_8x8x3")
    flow, _ = model(arrays, "sd", RosinalityImporter())
    x = arrays["flow_input"]
    with torch.no_grad():
        torch.testing.assert_close(bits(flow, x, None), arrays["bpd"], rtol=0, atol=1e-5)
        z = joined(flow, [0.7 * arrays[f"sample/eps/{i}"] for i in (0, 1)])
        made, _ = flow.inverse(z)
        torch.testing.assert_close(made, arrays["sample/x_T0.7"], rtol=1e-5, atol=1e-5)
        back, _ = flow.inverse(flow(x)[0])
    torch.testing.assert_close(back, x, rtol=0, atol=5e-6)


def test_y0ast_gives_the_same_bits(golden):
    arrays = golden("y01_y0ast_lu_affine_8x8x3")
    flow, context = model(arrays, "sd", Y0astImporter())
    x = arrays["x_uint8"] / 256 - 0.5 + arrays["u"] / 256
    with torch.no_grad():
        torch.testing.assert_close(bits(flow, x, context), arrays["bpd"], rtol=0, atol=1e-5)


def test_a_squeeze_orders_channels_as_the_reference(golden):
    from corekit.flows.squeeze import Squeeze

    arrays = golden("squeeze_order")
    inputs = under(arrays, "in_")
    assert inputs
    for key, x in inputs.items():
        want = arrays[f"out_{key}"]
        factor = x.shape[-1] // want.shape[-1]
        got, _ = Squeeze(tuple(x.shape[1:]), factor=factor)(x.float())
        torch.testing.assert_close(got, want.float(), rtol=0, atol=0)


def test_a_permutation_that_is_not_in_the_checkpoint_is_asked_for(golden):
    arrays = golden("c04_reverse_affine_8x8x3")
    with pytest.raises(CheckpointError, match="say so: --set permutation=reverse"):
        ChaiyujinImporter().found(under(arrays, "sd/"), "golden")
