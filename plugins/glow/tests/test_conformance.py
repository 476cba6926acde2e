"""Every component keeps every promise of its interface."""

import pytest

from corekit.testing import parametrize_checks


@parametrize_checks("bijector", "glow.glow")
def test_glow(check):
    check()


@parametrize_checks("bijector", "glow.step")
def test_step(check):
    check()


@parametrize_checks("bijector", "glow.coupling")
def test_coupling(check):
    check()


@parametrize_checks("bijector", "glow.invertible_conv")
def test_invertible_conv(check):
    check()


@parametrize_checks("bijector", "glow.permute")
def test_permute(check):
    check()


@parametrize_checks("bijector", "glow.top")
def test_top(check):
    check()


@parametrize_checks("bijector", "glow.transformer_block")
def test_transformer_block(check):
    check()


@parametrize_checks("bijector", "glow.tarflow")
def test_tarflow(check):
    check()


@parametrize_checks("model", "glow.noisy_flow")
def test_noisy_flow(check):
    check()


@parametrize_checks("model", "glow.classified_flow")
def test_classified_flow(check):
    check()


@parametrize_checks("network", "glow.gated_resnet")
def test_gated_resnet(check):
    check()


@parametrize_checks("network", "glow.net")
def test_net(check):
    check()


@parametrize_checks("network", "glow.zero")
def test_zero(check):
    check()


@pytest.mark.parametrize("port", ["chaiyujin", "y0ast", "rosinality"])
def test_importers(port):
    from corekit.testing import check_component

    found = check_component("importer", f"glow.{port}")
    assert not [result for result in found if not result.ok]
