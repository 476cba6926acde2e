"""The schedules of DDPM: their betas, their defaults, and what their specs refuse."""

import inspect

import numpy as np
import pytest
from corekit_ddpm_improved import corekit_components
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.schedules import Cosine, Linear
from corekit_ddpm_improved.specs import CosineSpec, LinearSpec, MseSpec
from pydantic import ValidationError

from corekit.errors import UsageError


def test_linear_scales_its_default_and_takes_betas_literally():
    np.testing.assert_allclose(Linear(500).betas[[0, -1]], [2e-4, 0.04])
    np.testing.assert_allclose(Linear(500, 1e-4, 0.02).betas[[0, -1]], [1e-4, 0.02])
    assert Linear().steps == 1000
    # the two ends reach about the same noise, whatever the number of steps
    assert Linear(4000).alphas_cumprod[-1] == pytest.approx(4.247e-5, rel=1e-3)
    assert Linear(1000).alphas_cumprod[-1] == pytest.approx(4.036e-5, rel=1e-3)


def test_cosine_ends_in_noise_with_one_clipped_beta():
    schedule = Cosine()
    assert schedule.alphas_cumprod[-1] == pytest.approx(2.43e-9, rel=1e-2)
    assert (schedule.betas == 0.999).sum() == 1
    assert Cosine(max_beta=0.5).betas.max() == 0.5
    assert Cosine(s=0.1).betas[0] > Cosine().betas[0]


@pytest.mark.parametrize("make", [Linear, Cosine])
def test_zero_terminal_snr_empties_the_last_level(make):
    assert make(50, zero_terminal_snr=True).alphas_cumprod[-1] == 0
    assert make(50).alphas_cumprod[-1] > 0


def test_respacing_makes_a_plain_discrete_schedule():
    schedule = Cosine(40)
    short = schedule.respace([0, 20, 39])
    np.testing.assert_allclose(short.alphas_cumprod, schedule.alphas_cumprod[[0, 20, 39]])


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"steps": 20}, "at least 21 steps, got 20"),
        ({"beta_start": 1e-4}, "beta_end is missing"),
        ({"beta_end": 0.02}, "beta_start is missing"),
    ],
)
def test_spec_and_constructor_refuse_the_same(given, match):
    with pytest.raises(ValidationError, match=match):
        LinearSpec(**given)
    with pytest.raises(UsageError, match=r"at least 21 steps|given together or not at all"):
        Linear(**given)
    LinearSpec(steps=21)
    Linear(steps=21)
    LinearSpec(steps=10, beta_start=1e-4, beta_end=0.02)
    Linear(steps=10, beta_start=1e-4, beta_end=0.02)


@pytest.mark.parametrize(
    ("spec", "target"), [(LinearSpec, Linear), (CosineSpec, Cosine), (MseSpec, Mse)]
)
def test_defaults_of_spec_and_constructor_agree(spec, target):
    parameters = inspect.signature(target).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert spec().model_dump(exclude={"type"}) == defaults


def test_declaration_names_what_exists():
    import importlib

    for component in corekit_components():
        for address in (component.spec, component.target):
            module, _, attribute = address.partition(":")
            assert hasattr(importlib.import_module(module), attribute)
        spec_module, _, spec_name = component.spec.partition(":")
        spec = getattr(importlib.import_module(spec_module), spec_name)
        assert spec.model_fields["type"].default == component.name
