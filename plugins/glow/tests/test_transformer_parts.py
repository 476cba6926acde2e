"""What a transformer's flow starts as and keeps, and what its noisy model hands on."""

import math

import pytest
import torch
from corekit_glow.denoising import NoisyFlow, denoised
from corekit_glow.tarflow import Tarflow
from corekit_glow.transformer import TransformerBlock

from corekit.data_spec import DataSpec
from corekit.flows.linear import Linear
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Batch, Condition
from corekit.nn.recompute import recompute_activations
from corekit.testing.case import redraw

SMALL = {"patch": 2, "width": 8, "heads": 2}


def test_places_start_small():
    block = TransformerBlock((1, 16, 16), patch=2, width=64, heads=2, layers=1)
    assert block.place.std().item() == pytest.approx(0.02, rel=0.05)


def test_log_scales_of_half_precision_are_summed_in_float32():
    block = TransformerBlock((2, 4, 6), layers=1, **SMALL)
    torch.nn.init.constant_(block.last.bias, 0.3)
    x = torch.randn(3, 2, 4, 6).bfloat16()
    _, logdet = block.bfloat16()(x)
    raw = torch.tensor(0.3).bfloat16().item()
    want = torch.full((3,), -48 * 7 * math.tanh(raw / 7))
    torch.testing.assert_close(logdet, want, rtol=1e-6, atol=0)


def test_layers_that_are_computed_again_are_not_kept():
    kept = []
    block = TransformerBlock((2, 4, 6), layers=4, **SMALL).train()
    x = torch.randn(16, 2, 4, 6)
    for again in (False, True):
        if again:
            recompute_activations(block)
        numbers = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, numbers=numbers: numbers.append(t.numel()) or t, lambda t: t
        ):
            block(x)
        kept.append(sum(numbers))
    assert kept[1] < kept[0] / 3


def conditional():
    data = DataSpec((1, 4, 4), condition_shapes={"vector": (3,)})
    model = NoisyFlow(data, bijector=lambda **given: Tarflow(**given, layers=1, blocks=2, **SMALL))
    redraw(model.double())
    return model, Condition(vector=torch.randn(5, 3, dtype=torch.float64))


def test_the_condition_reaches_the_loss_and_the_step_of_a_decoded_latent():
    model, condition = conditional()
    x, eps = torch.randn(2, 5, 1, 4, 4, dtype=torch.float64)
    terms = model(Batch(x, condition), draws=GivenDraws({"noise": eps}))
    noisy = x + 0.05 * eps
    torch.testing.assert_close(terms.total, -model.density.log_prob(noisy, condition).value)
    z = torch.randn(5, 16, dtype=torch.float64)
    made = model.decode(z, condition, denoise=False)
    assert torch.equal(
        model.decode(z, condition), denoised(model.density, made, model.sigma, condition)
    )


def test_a_temperature_scales_the_deviation_of_noisy_samples():
    model = NoisyFlow(DataSpec((3,)), bijector=Linear)
    drawn = [
        model.sample(
            4,
            temperature=temperature,
            generator=torch.Generator().manual_seed(0),
            denoise=False,
        )
        for temperature in (1.0, 0.5, 0.0)
    ]
    torch.testing.assert_close(drawn[1], 0.5 * drawn[0])
    assert not drawn[2].any()
