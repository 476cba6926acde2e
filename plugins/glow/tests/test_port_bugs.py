"""Bugs that the torch ports of Glow have, and a whole model of ours must not."""

import itertools
import math

import pytest
import torch
from corekit_glow.flow import Glow
from corekit_glow.step import FlowStep
from host_reads import HostReads

from corekit.build import build
from corekit.data_spec import pixel_spec
from corekit.interfaces.draws import Draws, GivenDraws
from corekit.interfaces.records import Batch
from corekit.nn.recompute import recompute_activations
from corekit.spec import run_spec
from corekit.testing.case import redraw

SHAPES = [(1, 8, 8), (3, 8, 16), (4, 16, 8)]
GLOW = {"type": "glow.glow", "levels": 2, "steps": 2, "hidden": 8}
STILL = GLOW | {"mixing": "reverse", "coupling": "additive", "learn_top": False}  # reorders pixels
MIXINGS = {
    "lu": "LuLinear",
    "plain": "Linear",
    "qr": "QrLinear",
    "orthogonal": "Householder",
    "shuffle": "GlowPermute",
    "reverse": "GlowPermute",
}


def model_of(data, bijector=GLOW, **model):
    """What a spec of a flow over levels makes of data."""
    tree = {"type": "flow", "dequantize": "realnvp.uniform_dequantize", "bijector": bijector}
    return build(run_spec({"version": 1, "model": tree | model, "data": "shapes2d"}), data=data)


def pictures(data, rows=5):
    return data.lowest + data.bin_width * torch.randint(data.levels, (rows, *data.event_shape))


# bug 5 of the torch ports: noise is normal with the deviation of a bin, so log p bounds nothing


@pytest.mark.parametrize("bits", [1, 5, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_uniform_density_has_exactly_as_many_bits_as_the_data(shape, bits):
    data = pixel_spec(shape, (0.0, 1.0), bits=bits)
    layers = [{"type": "logit", "alpha": 0.0}, STILL, "sigmoid"]
    model = model_of(data, {"type": "chain", "of": layers}, base="uniform")
    x = pictures(data)
    torch.testing.assert_close(model.bits_per_dim(x), torch.full((5,), float(bits)))
    terms = model(Batch(x)).terms
    torch.testing.assert_close(terms["bits_per_dim"], torch.full((5,), float(bits)))
    assert torch.equal(model.decode(model.encode(x)), x)


def test_probabilities_of_all_pictures_sum_to_the_mass_that_lies_on_bins():
    """Two by two pixels of one bit: 16 pictures, whose bins fill the unit cube."""
    data = pixel_spec((1, 2, 2), (0.0, 1.0), bits=1)
    model = model_of(data, GLOW | {"levels": 1}).double()
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)
    x = every.reshape(16, 1, 2, 2)
    model.initialize(Batch(x.repeat(50, 1, 1, 1)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        log_p = model.log_prob(x.repeat(2000, 1, 1, 1)).value
        drawn = model.density.sample(100_000).flatten(1)
    mass = ((drawn >= 0) & (drawn < 1)).all(1).double().mean()
    assert 0.02 < mass < 0.9
    total = log_p.exp().reshape(2000, 16).mean(0).sum()
    torch.testing.assert_close(total, mass, rtol=0.03, atol=0)


@pytest.mark.parametrize("bits", [5, 8])
def test_noise_is_uniform_within_the_bin_of_each_level(bits):
    data = pixel_spec((3, 8, 16), (0.0, 1.0), bits=bits)
    model, x = model_of(data), pictures(data, 200)
    z, _ = model.dequantize(x)
    level, u = (x / data.bin_width).round(), z.double() * data.levels
    assert torch.equal(u.floor(), level.double())
    u = (u - level).flatten()
    share = torch.histc(u, bins=10, min=0, max=1) / len(u)
    torch.testing.assert_close(share, torch.full_like(share, 0.1), rtol=0.03, atol=0)
    assert u.mean().item() == pytest.approx(0.5, abs=0.005)  # the ports: 0
    assert u.std().item() == pytest.approx(12**-0.5, abs=0.005)  # the ports: 1


# bug 12 of the torch ports: noise is added to the batch of the caller, and n bits become 8


@pytest.mark.parametrize("bits", [5, 8])
def test_the_batch_of_the_caller_stays_and_comes_back(bits):
    data = pixel_spec((3, 8, 16), (-1.0, 1.0), bits=bits)
    model, x = model_of(data), pictures(data)
    before = x.clone()
    model.initialize(Batch(x))
    redraw(model.density.bijector[0])
    model(Batch(x)).total.sum().backward()
    z, _ = model.encode(x), model.bits_per_dim(x)
    assert torch.equal(x, before)
    torch.testing.assert_close(model.decode(z), x, rtol=0, atol=1e-6)
    drawn = (model.sample(4, temperature=0.7) - data.lowest) / data.bin_width
    torch.testing.assert_close(drawn, drawn.round(), rtol=0, atol=1e-4)
    assert 0 <= drawn.min() <= drawn.max() <= data.levels - 1


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_bits_are_those_of_the_density_and_of_the_levels(bits):
    data = pixel_spec((3, 8, 16), (0.0, 1.0), bits=bits)
    model, x = model_of(data).double(), pictures(data).double()
    redraw(model)
    u = torch.rand_like(x)
    z = ((x / data.bin_width).round() + u) / data.levels
    found = model.bits_per_dim(x, generator=GivenDraws({"dequantize": u}))
    size = math.prod(data.event_shape)
    torch.testing.assert_close(found, bits - model.density.log_prob(z).value / (size * math.log(2)))


# bug 13 of the torch ports: the last block has LU factors whatever is asked for; each ActNorm reads
# its `initialized` from the device at every forward; images of 3 channels, square, and no others


@pytest.mark.parametrize("mixing", list(MIXINGS))
def test_every_step_of_every_level_has_the_mixing_that_is_asked_for(mixing):
    flow = Glow((3, 8, 16), levels=3, steps=3, hidden=4, mixing=mixing)
    steps = [module for module in flow.modules() if isinstance(module, FlowStep)]
    assert [type(step[1]).__name__ for step in steps] == [MIXINGS[mixing]] * 9
    if mixing == "reverse":
        assert all(step[1].order.tolist() == [*range(len(step[1].order))][::-1] for step in steps)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("mixing", list(MIXINGS))
def test_a_step_of_training_reads_nothing_back(mixing, again):
    data = pixel_spec((4, 8, 16), (0.0, 1.0))
    model, x = model_of(data, GLOW | {"mixing": mixing}).train(), pictures(data)
    if again:
        recompute_activations(model)
    model.initialize(Batch(x))
    with HostReads() as reads:
        model(Batch(x), draws=Draws(torch.Generator().manual_seed(0))).total.mean().backward()
    assert reads.found == []


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_of_any_channels_and_sides_are_trained_on(shape):
    data = pixel_spec(shape, (0.0, 1.0), bits=5)
    model, x = model_of(data).train(), pictures(data, 16)
    model.initialize(Batch(x))
    optimizer = torch.optim.Adamax(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model(Batch(x)).total.mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert model.sample(2).shape == (2, *shape)
    torch.testing.assert_close(model.decode(model.encode(x)), x, rtol=0, atol=1e-6)
