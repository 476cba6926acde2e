"""EDM: its preconditioning, its grid of sigmas, its loss."""

import math

import pytest
import torch
from corekit_ddpm_improved.edm import Edm, EdmLoss, EdmSigmas
from corekit_ddpm_improved.later_specs import EdmSigmasSpec
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.mlp import MlpDenoiser
from corekit_ddpm_improved.schedules import Cosine, Linear
from corekit_ddpm_improved.timesteps import LogNormal
from pydantic import ValidationError
from torch import nn

from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.process import prediction_of, q_sample
from corekit.diffusion.samplers import Ddim
from corekit.diffusion.schedules import Rectified
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Condition, NoiseLevel
from corekit.testing.oracle import GaussianOracle, OracleDenoiser


class Net(Denoiser):
    """Says what it is told to, and remembers what it saw."""

    predicts = "eps"  # does not matter

    def __init__(self, event_shape, condition_shapes, out_channels, said=None):
        super().__init__()
        self.event_shape, self.condition_shapes, self.said = event_shape, condition_shapes, said
        self.bias = nn.Parameter(torch.zeros(()))

    def prepared(self, condition):
        ready = Net(self.event_shape, self.condition_shapes, None, self.said)
        ready.conditions = [condition]
        return ready

    def _forward(self, x_t, level, condition, previous):
        self.seen = x_t, level.time, previous
        return self.said + self.bias


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def wrapped(said, **options):
    def net(**given):
        return Net(**given, said=said)

    return Edm(tuple(said.shape[1:]), net=net, **options)


def karras_level(sigma):
    return EdmSigmas().at(EdmSigmas().time_of(-2 * sigma.log()))


def test_it_is_the_formula_of_the_paper():
    sigma, sd = torch.tensor([0.002, 0.5, 3.0, 80.0], dtype=torch.float64), 0.7
    said, x = normal(4, 3), sigma[:, None] * normal(4, 3, seed=1)
    part = wrapped(said, sigma_data=sd)
    found = part(x, karras_level(sigma))
    s = sigma[:, None]
    skip, out = sd**2 / (s**2 + sd**2), s * sd / (s**2 + sd**2).sqrt()
    torch.testing.assert_close(found, skip * x + out * said)
    seen, told, _ = part.net.seen
    torch.testing.assert_close(seen, x / (s**2 + sd**2).sqrt())
    torch.testing.assert_close(told, sigma.log() / 4)
    assert part.predicts == "x_0"


def test_on_any_schedule_it_is_that_of_x_over_alpha():
    schedule, said, x_t = Cosine(20), normal(3, 2), normal(3, 2, seed=1)
    level = schedule.at(torch.tensor([0.1, 0.5, 0.95], dtype=torch.float64))
    part = wrapped(said)
    found = part(x_t, level)
    seen = part.net.seen
    s = level.sigma / level.alpha
    again = part(x_t / level.alpha[:, None], NoiseLevel(s, torch.ones_like(s), s))
    torch.testing.assert_close(found, again)
    torch.testing.assert_close(seen[:2], part.net.seen[:2])


def test_without_signal_it_is_sigma_data_times_the_network():
    said = normal(2, 3)
    for schedule in (Rectified(), Linear(40, zero_terminal_snr=True)):
        level = schedule.at(torch.ones(2, dtype=torch.float64))
        part = wrapped(said, sigma_data=0.7)
        torch.testing.assert_close(part(normal(2, 3, seed=1), level), 0.7 * said)
        assert part.net.seen[1].tolist() == [5, 5]


def test_input_and_target_of_the_network_have_unit_variance():
    x_0, eps, sd = 0.7 * normal(20000, 1), normal(20000, 1, seed=1), 0.7
    for sigma in (0.01, 0.7, 40.0):
        level = karras_level(torch.full((20000,), sigma, dtype=torch.float64))
        part, x_t = wrapped(torch.zeros(20000, 1), sigma_data=sd), q_sample(x_0, eps, level)
        skipped = part(x_t, level).detach()
        assert part.net.seen[0].std().item() == pytest.approx(1, abs=0.03)
        out = sigma * sd / (sigma**2 + sd**2) ** 0.5
        assert ((x_0 - skipped) / out).std().item() == pytest.approx(1, abs=0.03)


def test_a_learned_variance_and_an_earlier_estimate_are_passed_on():
    options = {"hidden": 8, "depth": 1, "variance": "range", "self_condition": True}
    part = Edm((2,), net=lambda **given: MlpDenoiser(**given, **options)).double()
    assert (part.variance, part.self_condition, part.learns_variance) == ("range", True, True)
    nn.init.normal_(part.net.head.weight)
    nn.init.normal_(part.net.layers[0].last.weight)
    level, x_t = Linear(40).at(torch.tensor([0.5, 0.9], dtype=torch.float64)), normal(2, 2)
    output, other = part(x_t, level), part(x_t, level, previous=normal(2, 2, seed=1))
    assert not torch.allclose(output[:, :2], other[:, :2])
    s = (level.sigma / level.alpha)[:, None]
    told = level._replace(time=s[:, 0].log() / 4)
    raw = part.net(x_t / (level.sigma**2 + 0.25 * level.alpha**2).sqrt()[:, None], told)
    torch.testing.assert_close(output[:, 2:], raw[:, 2:])
    assert prediction_of(part, output, x_t, level).log_variance.shape == (2, 2)


def test_what_the_network_prepares_is_wrapped():
    condition = Condition(vector=normal(2, 1))
    part = wrapped(normal(2, 3), sigma_data=0.9).eval()
    ready = part.prepared(condition)
    assert isinstance(ready, Edm)
    assert (ready.sigma_data, ready.training) == (0.9, False)
    assert ready.net.conditions == [condition]
    level, x_t = Rectified().at(torch.full((2,), 0.5, dtype=torch.float64)), normal(2, 3, seed=1)
    torch.testing.assert_close(ready(x_t, level), part(x_t, level))
    plain = Edm((2,), net=lambda **given: MlpDenoiser(**given, hidden=8))
    assert plain.prepared(None) is plain


def test_the_loss_is_the_error_of_the_network():
    sigma, sd = torch.tensor([0.002, 0.5, 3.0, 80.0], dtype=torch.float64), 0.7
    level, said = karras_level(sigma), normal(4, 3)
    x_0, eps = normal(4, 3, seed=1), normal(4, 3, seed=2)
    x_t = q_sample(x_0, eps, level)
    part = wrapped(said, sigma_data=sd)
    prediction = prediction_of(part, part(x_t, level), x_t, level)
    s = sigma[:, None]
    skip, out = sd**2 / (s**2 + sd**2), s * sd / (s**2 + sd**2).sqrt()
    wanted = (said - (x_0 - skip * x_t) / out).square().mean(1)
    loss = EdmLoss(sd)(prediction, x_0, x_t, eps, level)
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=0)
    weight = (sigma**2 + sd**2) / (sigma * sd) ** 2
    error = Mse("x_0")(prediction, x_0, x_t, eps, level)
    torch.testing.assert_close(loss, weight * error, rtol=1e-6, atol=0)


def test_samplers_take_the_grid_of_karras_and_end_at_zero():
    schedule = EdmSigmas()
    assert schedule.default_steps == 18
    sigmas = schedule.at(schedule.times(18)).sigma
    i = torch.arange(18, dtype=torch.float64)
    roots = 80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))
    torch.testing.assert_close(sigmas, torch.cat([roots**7, torch.zeros(1).double()]))
    assert schedule.at(schedule.times(1)).sigma.tolist() == pytest.approx([80, 0])


def test_sampling_starts_from_sigma_max_and_ends_at_the_data():
    mean, variance = torch.tensor([1.0, -2.0]), torch.tensor([0.25, 1.0])
    oracle = GaussianOracle(mean.double(), variance.double())
    density = DiffusionDensity(
        (2,),
        denoiser=lambda **given: OracleDenoiser(oracle, "x_0"),
        schedule=EdmSigmas(),
        loss=EdmLoss(),
    )
    starts = []

    def spied(predict):
        def spy(x_t, level):
            starts.append((x_t, level.sigma[0].item()))
            return predict(x_t, level)

        return spy

    x = density.sample(
        4000, generator=torch.Generator().manual_seed(0), sampler=Ddim(steps=60), around=spied
    )
    x_T, sigma = starts[0]
    assert sigma == pytest.approx(80)
    z = x_T / 80
    assert z.mean().item() == pytest.approx(0, abs=0.04)
    assert z.std().item() == pytest.approx(1, abs=0.04)
    torch.testing.assert_close(x.mean(0), mean.double(), atol=0.05, rtol=0)
    torch.testing.assert_close(x.var(0), variance.double(), atol=0, rtol=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_normal_sigmas_are_what_was_drawn(dtype):
    level, weight = LogNormal().sample(
        4000, EdmSigmas(), Draws(torch.Generator().manual_seed(0)), torch.device("cpu")
    )
    logs = level.sigma.log()
    assert weight is None
    assert logs.mean().item() == pytest.approx(-1.2, abs=0.08)
    assert logs.std().item() == pytest.approx(1.2, abs=0.06)
    low = EdmSigmas().at(EdmSigmas().time_of(torch.tensor([30.0], dtype=dtype))).sigma
    assert low.item() == pytest.approx(math.exp(-15), rel=1e-5)


def test_what_cannot_be_is_refused():
    for given in ({"sigma_min": 90.0}, {"sigma_min": 0.0}, {"rho": 0.5}):
        with pytest.raises(UsageError, match="0 < sigma_min < sigma_max and rho >= 1, got"):
            EdmSigmas(**given)
        with pytest.raises(ValidationError, match=r"must be below|greater than"):
            EdmSigmasSpec(**given)
    with pytest.raises(UsageError, match="EdmLoss: sigma_data must be positive, got 0"):
        EdmLoss(0.0)
    with pytest.raises(UsageError, match="Edm: sigma_data must be positive, got -1"):
        wrapped(normal(1, 2), sigma_data=-1.0)
