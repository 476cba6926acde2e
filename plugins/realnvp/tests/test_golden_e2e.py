"""A whole RealNVP on images, layer by layer, against golden numbers; and its full size."""

import math

import pytest
import torch
from corekit_realnvp.dequantize import UniformDequantize
from corekit_realnvp.image import RealNvpImage
from corekit_realnvp.tanh_coupling import TanhCoupling

from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, UsageError
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain
from corekit.flows.model import FlowModel
from corekit.flows.pointwise import Logit
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.frozen import frozen
from corekit.interfaces.records import Batch
from corekit.testing import parametrize_checks

EXACT = {"rtol": 1e-10, "atol": 1e-11}


def promises():
    """All of them; compiling so many layers is slow, and each of them is compiled elsewhere."""
    _, params = parametrize_checks("bijector", "realnvp.image").args
    for param in params:
        slow = [pytest.mark.slow] if param.id.startswith("it_compiles") else []
        yield pytest.param(*param.values, id=param.id, marks=[*param.marks, *slow])


@pytest.mark.parametrize("check", list(promises()))
def test_promises(check):
    check()


def given(layer, values):
    """Put golden parameters into a layer."""
    if isinstance(layer, ActNorm):
        layer.log_scale.copy_(values["log_scale"].reshape(layer.log_scale.shape))
        # golden: x e^log_scale + shift; here: (x + shift) e^log_scale
        shift = values["shift"].reshape(layer.shift.shape)
        layer.shift.copy_(shift * (-layer.log_scale).exp())
    if isinstance(layer, TanhCoupling):
        net = layer.net.net
        convs = {"in": net.first, "out": net.last}
        for i, block in enumerate(net.blocks):
            convs |= {f"block{i}.c{j + 1}": conv for j, conv in enumerate(block.layers)}
        for name, conv in convs.items():
            for part, parameter in (("v", conv.v), ("g", conv.g), ("b", conv.bias)):
                parameter.copy_(values[f"{name}.{part}"].reshape(parameter.shape))
        layer.net.scale.copy_(values["scale"])
        layer.net.shift.copy_(values["scale_shift"])


def golden_model(arrays):
    shape = tuple(arrays["image"].shape[1:])

    def bijector(event_shape, context_shape):
        flow = RealNvpImage(event_shape, filters=5, blocks=2, scale="scalar")
        return Chain(event_shape, of=[Logit(event_shape, alpha=0.05), flow])

    data = DataSpec(shape, levels=4, bin_width=1.0, lowest=0.0)
    model = FlowModel(data, bijector=bijector, dequantize=UniformDequantize).double()
    flow = model.density.bijector[1]
    with torch.no_grad():
        for i, layer in enumerate(flow):
            start = f"p.layer{i}."
            given(layer, {k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)})
    return model, flow


def test_every_layer_has_the_golden_output(golden):
    arrays = golden("realnvp_e2e")
    _, flow = golden_model(arrays)
    x = arrays["x"]
    with torch.no_grad():
        for i, layer in enumerate(flow):
            x, _ = layer(x)
            torch.testing.assert_close(x, arrays[f"out.layer{i}"], **EXACT)
    assert len(flow) == 19


def test_the_whole_model_has_the_golden_likelihood(golden):
    arrays = golden("realnvp_e2e")
    model, flow = golden_model(arrays)
    image = arrays["image"].double()
    noise = {"dequantize": arrays["u"]}
    with torch.no_grad(), frozen(model):
        z, logdet = flow(arrays["x"])
        found = model.log_prob(image, generator=GivenDraws(noise)).value
        bits = model.bits_per_dim(image, generator=GivenDraws(noise))
        back, _ = flow.inverse(z)
    torch.testing.assert_close(z, arrays["z"], **EXACT)
    torch.testing.assert_close(logdet, arrays["logdet"], **EXACT)
    torch.testing.assert_close(found, arrays["log_prob_x"] + arrays["pre_logdet"], **EXACT)
    torch.testing.assert_close(bits, arrays["bits_per_dim"], **EXACT)
    torch.testing.assert_close(-found / 48, arrays["nats_per_dim"], **EXACT)
    torch.testing.assert_close(back, arrays["x"], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_the_full_layout_has_its_parameters_and_takes_a_step():
    """14.62 million, as the original at 32 x 32 with 128 filters and 8 blocks."""
    torch.manual_seed(0)
    flow = RealNvpImage((3, 32, 32))
    nets = sum(
        p.numel()
        for layer in flow
        if isinstance(layer, TanhCoupling)
        for p in layer.net.net.parameters()
    )
    assert nets == 7 * 1_458_572 + 3 * 1_468_952
    total = sum(p.numel() for p in flow.parameters())
    assert round(total / 1e6, 2) == 14.62
    data = DataSpec((3, 32, 32), levels=4, bin_width=1.0, lowest=0.0)
    model = FlowModel(
        data,
        bijector=lambda **_: Chain((3, 32, 32), of=[Logit((3, 32, 32)), flow]),
        dequantize=UniformDequantize,
    )
    batch = Batch(torch.randint(4, (2, 3, 32, 32)).float())
    model.initialize(batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    before = model(batch).total.mean()
    before.backward()
    optimizer.step()
    after = model(batch).total.mean()
    assert math.isfinite(before.item())
    assert math.isfinite(after.item())
    assert after != before


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 6, 10), (4, 8, 4)])
@pytest.mark.parametrize("options", [{}, {"actnorm": "all"}, {"actnorm": "none"}])
def test_any_size_and_number_of_channels(shape, options):
    torch.manual_seed(0)
    flow = RealNvpImage(shape, filters=4, blocks=1, **options).double()
    x = torch.randn(16, *shape, dtype=torch.float64)
    z = flow.initialize(x)
    torch.testing.assert_close(flow.inverse(z)[0], x)
    norms = sum(isinstance(layer, ActNorm) for layer in flow)
    assert norms == {"between": 7, "all": 10, "none": 0}[options.get("actnorm", "between")]


@pytest.mark.parametrize(("scales", "shape"), [(2, (1, 4, 4)), (3, (3, 8, 8)), (4, (1, 8, 16))])
def test_several_scales_keep_all_latents(scales, shape):
    torch.manual_seed(0)
    flow = RealNvpImage(shape, filters=3, blocks=0, scales=scales).double()
    x = torch.randn(8, *shape, dtype=torch.float64)
    z = flow.initialize(x)
    assert z.shape == (8, math.prod(shape))
    torch.testing.assert_close(flow.inverse(z)[0], x)


def test_bad_masks_are_there_for_comparison():
    flow = RealNvpImage((3, 4, 4), filters=3, blocks=0, masks="halves")
    couplings = [layer for layer in flow if isinstance(layer, TanhCoupling)]
    masks = [tuple(c.parts.mask.flatten().tolist()) for c in couplings]
    assert len(masks) == 8
    assert len(set(masks)) == 4
    assert sum(isinstance(layer, ActNorm) for layer in flow) == 7


def test_bad_arguments_are_refused():
    with pytest.raises(ShapeError, match=r"must be .channels, height, width."):
        RealNvpImage((4,))
    with pytest.raises(ShapeError, match="multiples of 2"):
        RealNvpImage((1, 5, 4), filters=2, blocks=0)
    with pytest.raises(UsageError, match="scales, channels and both numbers"):
        RealNvpImage((1, 4, 4), checkers=(0, 1))
    with pytest.raises(UsageError, match="actnorm must be between, all or none"):
        RealNvpImage((1, 4, 4), actnorm="before")
