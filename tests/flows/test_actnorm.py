"""ActNorm starts from data as Glow says, once, and not as the seed did."""

import copy
import math
import warnings

import pytest
import torch

from corekit.errors import ShapeError, UsageError
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain, Inverse
from corekit.interfaces.initialization import starts_from_data

EXACT = {"rtol": 1e-10, "atol": 1e-12}


@pytest.mark.parametrize("which", ["unbiased", "biased"])
def test_the_start_is_that_of_the_reference(golden, which):
    arrays = golden("actnorm")
    layer = ActNorm((3, 5, 5), unbiased=which == "unbiased").double()
    z = layer.initialize(arrays["x"])
    torch.testing.assert_close(z, arrays[f"{which}_y"], **EXACT)
    torch.testing.assert_close(layer(arrays["x"])[1], arrays[f"{which}_logdet"], **EXACT)
    torch.testing.assert_close(layer.log_scale.flatten(), arrays[f"{which}_log_scale"], **EXACT)
    product = (layer.shift * layer.log_scale.exp()).flatten()
    torch.testing.assert_close(product, arrays[f"{which}_bias_post"], **EXACT)


def test_vectors_start_as_in_the_reference(golden):
    arrays = golden("actnorm")
    found = []
    for unbiased in (True, False):
        layer = ActNorm((6,), unbiased=unbiased).double()
        z = layer.initialize(arrays["x2"])
        same = torch.allclose(z, arrays["x2_y"], **EXACT)
        found.append(same and torch.allclose(layer(arrays["x2"])[1], arrays["x2_logdet"], **EXACT))
    assert sum(found) == 1


def test_it_does_not_start_as_the_seed_did(golden):
    """The seed subtracted the mean after it had divided by the deviation."""
    arrays = golden("actnorm")
    z = ActNorm((3, 5, 5), unbiased=True).double().initialize(arrays["x"])
    assert (z - arrays["seed_buggy_y"]).abs().max() > 0.5
    assert z.mean((0, 2, 3)).abs().max() < 1e-12


def test_sums_are_made_in_double_precision():
    """Large numbers that nearly cancel: in float32 five digits of their mean are lost."""
    torch.manual_seed(0)
    large = 1e4 * torch.randn(2500, 2)
    x = torch.cat((large, 0.5 - large))
    layer = ActNorm((2,))
    layer.initialize(x)
    want = x.double().mean(0)
    torch.testing.assert_close(-layer.shift.double(), want, rtol=1e-6, atol=0)
    want = x.double().std(0, correction=0).log()
    torch.testing.assert_close(-layer.log_scale.double(), want, rtol=1e-6, atol=0)


def test_a_loaded_layer_is_not_started_again():
    x = torch.randn(50, 4) * 3 + 1
    trained = ActNorm((4,))
    trained.initialize(x)
    with torch.no_grad():
        trained.shift.add_(0.5)
    loaded = ActNorm((4,))
    loaded.load_state_dict(trained.state_dict())
    loaded.train()(x * 7)
    loaded.initialize(x * 7)
    assert torch.equal(loaded.shift, trained.shift)
    assert torch.equal(loaded.log_scale, trained.log_scale)
    assert "initialised" in trained.state_dict()


def test_a_constant_channel_is_centred_and_named():
    x = torch.randn(20, 3, 4, 4) * 2
    x[:, 1] = 0.25
    layer = ActNorm((3, 4, 4))
    with pytest.warns(UserWarning, match=r"below 1e-06 in channels 1\. They are centred"):
        z = layer.initialize(x)
    assert z.isfinite().all()
    assert layer.log_scale[1].item() == 0
    torch.testing.assert_close(z[:, 1], torch.zeros(20, 4, 4))
    torch.testing.assert_close(z[:, 0].std(correction=0), torch.tensor(1.0))


@pytest.mark.parametrize("unbiased", [True, False])
def test_one_value_per_channel_is_a_constant_one(unbiased):
    layer = ActNorm((2,), unbiased=unbiased)
    with pytest.warns(UserWarning, match="in channels 0, 1"):
        z = layer.initialize(torch.tensor([[3.0, -4.0]]))
    assert z.tolist() == [[0, 0]]
    assert layer.log_scale.tolist() == [0, 0]


def test_many_constant_channels_are_counted():
    with pytest.warns(UserWarning, match="0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 5 more"):
        ActNorm((15,)).initialize(torch.zeros(3, 15))


def test_no_batch_starts_it():
    """Neither training nor evaluation nor the inverse: only `initialize` does."""
    layer, x = ActNorm((2,)), torch.randn(8, 2) * 5 + 3
    before = copy.deepcopy(layer.state_dict())
    assert torch.equal(layer.train()(x)[0], x)
    assert torch.equal(layer.eval()(x)[0], x)
    assert torch.equal(layer.inverse(x)[0], x)  # the identity, as documented, before it is started
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_it_starts_in_eval_mode_too():
    layer = ActNorm((2,)).eval()
    z = layer.initialize(torch.randn(30, 2) * 5 + 3)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=1e-6)


def test_the_whole_init_set_counts_not_its_first_rows():
    x = torch.cat((torch.zeros(500, 1), torch.ones(500, 1)))
    layer = ActNorm((1,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.initialize(x)
    assert layer.shift.item() == pytest.approx(-0.5)
    assert layer.log_scale.item() == pytest.approx(math.log(2))


def test_in_a_chain_each_starts_from_what_the_one_before_makes():
    chain = Chain((2,), of=[ActNorm, ActNorm])
    assert starts_from_data(chain)
    chain.initialize(torch.randn(100, 2) * 3 + 5)
    torch.testing.assert_close(chain[1].shift, torch.zeros(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(chain[1].log_scale, torch.zeros(2), rtol=0, atol=1e-6)


def test_backwards_what_comes_out_has_mean_zero_and_variance_one():
    turned = Inverse((3, 2, 2), of=ActNorm).double()
    z = turned.initialize(torch.randn(100, 3, 2, 2, dtype=torch.float64) * 4 + 2)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(z.var((0, 2, 3), correction=0), torch.ones(3).double())
    assert turned.of.initialised


def test_bad_init_sets_and_options_are_refused():
    with pytest.raises(UsageError, match="at least one row, got none"):
        ActNorm((2,)).initialize(torch.empty(0, 2))
    with pytest.raises(UsageError, match="NaN or infinity in channels 1"):
        ActNorm((2,)).initialize(torch.tensor([[1.0, math.nan], [2.0, 1.0]]))
    with pytest.raises(UsageError, match=r"floor and scale must be positive .* got 0\.0"):
        ActNorm((2,), floor=0.0)
    with pytest.raises(ShapeError, match=r"must have an axis of features, got \(\)"):
        ActNorm(())
    with pytest.raises(ShapeError, match=r"must have shape \(batch, 2\), got \(4, 3\)"):
        ActNorm((2,)).initialize(torch.zeros(4, 3))
