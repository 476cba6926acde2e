"""DiffusionDensity in its three roles: the loss it states, the samples it draws."""

import pytest
import torch
from torch import nn

from corekit.data_spec import DataSpec, Support
from corekit.diffusion.density import DiffusionDecoder, DiffusionDensity
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.predicting import thresholded
from corekit.diffusion.prior import DiffusionPrior
from corekit.diffusion.process import q_sample
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import Rectified, linear_betas, rescale_zero_terminal_snr
from corekit.errors import NoDensity, ShapeError, UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.density import Decoder, Prior
from corekit.interfaces.draws import GivenDraws, RowDraws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Batch, Condition
from corekit.interfaces.timestep_sampler import TimestepSampler
from corekit.testing.oracle import GaussianOracle, OracleDenoiser


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Net(Denoiser):
    """Points, each mapped alone; counts how often it prepares."""

    free_axes = (0,)
    channel_axis = 1

    def __init__(self, event_shape, condition_shapes, out_channels, predicts="eps"):
        super().__init__()
        self.event_shape, self.condition_shapes = event_shape, condition_shapes
        self.out_channels, self.predicts, self.prepares = out_channels, predicts, 0
        extra = sum(shape[0] for shape in condition_shapes.values())
        self.linear = nn.Linear(event_shape[1] + extra + 1, event_shape[1])

    def prepared(self, condition):
        self.prepares += 1
        return self

    def _forward(self, x_t, level, condition, previous):
        given = [level.time[:, None].to(x_t.dtype)]
        if self.condition_shapes:
            given.append(condition.vector)
        context = torch.cat(given, 1)[:, None].expand(-1, x_t.shape[1], -1)
        return self.linear(torch.cat([x_t, context], 2))


class SquaredError(DenoisingLoss):
    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.eps - eps).square().flatten(1).mean(1)


class Weighted(TimestepSampler):
    def sample(self, n, schedule, draws, device, *, rank=0, world=1):
        t = draws.integers("t", schedule.steps, (n,), device)
        return schedule.level(t), torch.arange(1.0, n + 1, device=device)


SCHEDULE = DiscreteSchedule(linear_betas(40))


def parts(**changes):
    return {"denoiser": Net, "schedule": SCHEDULE, "loss": SquaredError(), **changes}


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_is_the_formula(dtype):
    density = DiffusionDensity((5, 2), **parts()).to(dtype)
    x, eps, t = normal(3, 5, 2, dtype=dtype), normal(3, 5, 2, seed=1, dtype=dtype), [0, 39, 7]
    terms = density.loss(x, draws=GivenDraws({"t": torch.tensor(t), "eps": eps}))
    for row, step in enumerate(t):
        product = SCHEDULE.alphas_cumprod[step]
        x_t = product**0.5 * x[row] + (1 - product) ** 0.5 * eps[row]
        time = torch.full((5, 1), (step + 1) / 40, dtype=dtype)
        wanted = (density.denoiser.linear(torch.cat([x_t, time], 1)) - eps[row]).square().mean()
        torch.testing.assert_close(terms.total[row], wanted)
    assert terms.total.dtype == dtype
    assert torch.equal(terms.terms["error"], terms.total)
    assert terms.units == {"error": "squared error per coordinate"}
    seen_t, seen_loss = terms.seen["timesteps"]
    assert seen_t.tolist() == t
    assert torch.equal(seen_loss, terms.total)
    assert not seen_loss.requires_grad
    terms.total.mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in density.parameters())


def test_weights_enter_the_total_only():
    density = DiffusionDensity((5, 2), **parts(timesteps=Weighted()))
    terms = density.loss(normal(3, 5, 2), draws=torch.Generator().manual_seed(0))
    unweighted = terms.terms["error"]
    torch.testing.assert_close(terms.total, torch.tensor([1.0, 2.0, 3.0]) * unweighted)
    assert torch.equal(terms.seen["timesteps"][1], unweighted)


def test_training_draws_t_then_eps():
    names = []

    class Named(RowDraws):
        def normal(self, name, shape, like):
            names.append((name, tuple(shape)))
            return super().normal(name, shape, like)

        def integers(self, name, high, shape, device):
            names.append((name, tuple(shape)))
            return super().integers(name, high, shape, device)

    density = DiffusionDensity((5, 2), **parts())
    density.loss(normal(3, 5, 2), draws=Named(0, range(3)))
    assert names == [("t", (3,)), ("eps", (3, 5, 2))]


def test_a_continuous_schedule_trains_and_samples():
    def oracle(event_shape, condition_shapes, out_channels):
        return OracleDenoiser(GaussianOracle(torch.ones(5, 2), torch.ones(5, 2)), "velocity")

    density = DiffusionDensity((5, 2), **parts(denoiser=oracle, schedule=Rectified()))
    terms = density.loss(normal(3, 5, 2), draws=torch.Generator().manual_seed(0))
    assert terms.seen["timesteps"][0].is_floating_point()
    x = density.sample(500, generator=torch.Generator().manual_seed(0), sampler=Ddim(steps=50))
    assert x.mean().item() == pytest.approx(1, abs=0.06)
    assert x.std().item() == pytest.approx(1, abs=0.06)


def test_a_sample_starts_from_x_T_and_follows_the_sampler():
    density = DiffusionDensity((5, 2), **parts()).double()
    x_T, *noise = (normal(3, 5, 2, seed=i, dtype=torch.float64) for i in range(40))
    got = density.sample(3, generator=GivenDraws({"x_T": x_T, "noise": noise}))
    x = x_T
    for t in range(39, -1, -1):  # Ho et al., algorithm 2
        level = SCHEDULE.at(torch.full((3,), (t + 1) / 40, dtype=torch.float64))
        with torch.no_grad():
            eps = density.denoiser(x, level)
        beta, product = SCHEDULE.betas[t], SCHEDULE.alphas_cumprod[t]
        z = noise[39 - t] if t else torch.zeros_like(x)
        std = SCHEDULE.posterior_variance[t] ** 0.5
        x = (x - beta / (1 - product) ** 0.5 * eps) / (1 - beta) ** 0.5 + std * z
    torch.testing.assert_close(got, x)
    assert not got.requires_grad


def test_temperature_scales_the_start():
    density = DiffusionDensity((5, 2), **parts(sampler=Ddim(steps=4)))
    x_T = normal(3, 5, 2)
    hot = density.sample(3, temperature=0.5, generator=GivenDraws({"x_T": 2 * x_T}))
    assert torch.equal(hot, density.sample(3, generator=GivenDraws({"x_T": x_T})))


def test_sampling_options():
    density = DiffusionDensity((5, 2), **parts(sampler=Ancestral(steps=8)))
    steps = []
    x = density.sample(
        2,
        shape=(9, 2),
        generator=torch.Generator().manual_seed(0),
        callback=lambda i, x, prediction: steps.append(prediction.x_0.abs().max()),
        around=lambda predict: thresholded(predict, -0.5, 0.5),
    )
    assert x.shape == (2, 9, 2)
    assert len(steps) == 8
    assert max(steps) <= 0.5
    assert density.denoiser.prepares == 1
    fewer = density.sample(2, sampler=Ddim(steps=3), callback=lambda *a: steps.append(0))
    assert fewer.shape == (2, 5, 2)
    assert len(steps) == 11
    with pytest.raises(TypeError, match=r"unexpected options trunc.*sampler, callback, around"):
        density.sample(2, trunc=1)
    with pytest.raises(UsageError, match=r"axes \(0,\) of any length, got \(9, 3\)"):
        density.sample(2, shape=(9, 3))


def test_sample_i_is_the_same_in_any_batch():
    density = DiffusionDensity((5, 2), **parts(sampler=Ancestral(steps=8)))
    whole = density.sample(7, generator=RowDraws(1, range(7)))
    torch.testing.assert_close(density.sample(3, generator=RowDraws(1, range(3))), whole[:3])


@pytest.mark.parametrize(
    ("dtype", "wide"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)]
)
def test_the_dtype_is_kept_and_levels_are_wide(dtype, wide):
    density, seen = DiffusionDensity((5, 2), **parts()).to(dtype), []
    density.denoiser.register_forward_pre_hook(lambda module, given: seen.append(given[1]))
    assert density.sample(2).dtype == dtype
    assert density.loss(normal(3, 5, 2, dtype=dtype)).total.dtype == dtype
    assert {level.time.dtype for level in seen} == {level.alpha.dtype for level in seen} == {wide}


def test_it_has_no_likelihood():
    density = DiffusionDensity((5, 2), **parts())
    assert density.kind is Likelihood.NONE
    with pytest.raises(NoDensity, match="an error, not nats"):
        density.log_prob(normal(3, 5, 2))


def test_the_schedule_is_not_in_the_state_and_not_halved():
    density = DiffusionDensity((5, 2), **parts())
    before = SCHEDULE.level(torch.tensor([3])).alpha
    assert set(density.state_dict()) == {"denoiser.linear.weight", "denoiser.linear.bias"}
    density.half().to(torch.bfloat16)
    assert torch.equal(density.schedule.level(torch.tensor([3])).alpha, before)
    x = normal(2, 5, 2, dtype=torch.bfloat16)
    assert density.loss(x).total.dtype == torch.bfloat16
    assert density.sample(2).dtype == torch.bfloat16


def test_what_cannot_work_is_refused_at_construction():
    ends_in_noise = DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(40)))
    for schedule in (ends_in_noise, Rectified()):
        with pytest.raises(UsageError, match="DiffusionDensity: eps must not be predicted"):
            DiffusionDensity((5, 2), **parts(schedule=schedule))
        DiffusionDensity(
            (5, 2), **parts(schedule=schedule, denoiser=lambda **k: Net(**k, predicts="v"))
        )

    class Learned(Net):
        variance = "range"

    with pytest.raises(UsageError, match="Learned: a variance that is learned must have"):
        DiffusionDensity((5, 2), **parts(denoiser=Learned))


def test_a_schedule_short_of_noise_is_warned_about():
    with pytest.warns(UserWarning, match=r"alphas_cumprod must end near 0, got 0\.3636"):
        DiffusionDensity((5, 2), **parts(schedule=DiscreteSchedule(linear_betas(100, 1e-4, 0.02))))


def test_a_decoder_gives_its_latent_to_the_denoiser():
    decoder = DiffusionDecoder((5, 2), (4,), **parts(sampler=Ddim(steps=4)))
    assert isinstance(decoder, Decoder)
    assert decoder.denoiser.condition_shapes == decoder.condition_shapes == {"vector": (4,)}
    assert decoder.denoiser.out_channels is None
    z, x_T = normal(3, 4), normal(3, 5, 2)
    a, b = (
        decoder.sample(condition=Condition(vector=v), generator=GivenDraws({"x_T": x_T}))
        for v in (z, z + torch.tensor([[1.0], [0.0], [0.0]]))
    )
    assert not torch.allclose(a[0], b[0])
    torch.testing.assert_close(a[1:], b[1:])
    draws = {"t": torch.tensor([1, 2, 3]), "eps": normal(3, 5, 2, seed=2)}
    z.requires_grad_()
    decoder.loss(x_T, Condition(vector=z), GivenDraws(draws)).total.sum().backward()
    assert z.grad.abs().min() > 0
    with pytest.raises(UsageError, match="needs the condition 'vector'"):
        decoder.loss(x_T)
    with pytest.raises(ShapeError, match=r"condition.vector must have shape \(batch, 4\)"):
        decoder.loss(x_T, Condition(vector=normal(3, 5)))


def test_a_prior_may_be_conditional():
    plain = DiffusionPrior((5, 2), **parts())
    given = DiffusionPrior((5, 2), {"vector": (3,)}, **parts())
    assert isinstance(plain, Prior)
    assert plain.condition_shapes == {}
    assert given.denoiser.condition_shapes == {"vector": (3,)}


def test_a_model_trains_and_samples_the_data():
    data = DataSpec((5, 2), condition_shapes={"vector": (3,)})
    model = DiffusionModel(data, **parts(sampler=Ddim(steps=4)))
    batch = Batch(normal(3, 5, 2), Condition(vector=normal(3, 3)))
    terms = model(batch, draws=torch.Generator().manual_seed(0))
    direct = model.density.loss(*batch[:2], torch.Generator().manual_seed(0))
    assert torch.equal(terms.total, direct.total)
    (path,) = terms.seen
    assert model.get_submodule(path) is model.density.timesteps
    assert model.sample(3, batch.condition, shape=(7, 2)).shape == (3, 7, 2)
    with pytest.raises(UsageError, match="got codes"):
        DiffusionModel(DataSpec((5,), support=Support.CODES), **parts())


def test_x_is_not_modified():
    density = DiffusionDensity((5, 2), **parts())
    x = normal(3, 5, 2)
    density.loss(x)
    assert torch.equal(x, normal(3, 5, 2))


def test_the_loss_of_a_perfect_network_is_the_least_possible():
    """E|eps_hat - eps|^2 = alpha^2 v / (alpha^2 v + sigma^2) for data of variance v."""
    oracle = GaussianOracle(torch.zeros(4), torch.full((4,), 0.5))
    density = DiffusionDensity((4,), **parts(denoiser=lambda **k: OracleDenoiser(oracle)))
    t = torch.full((20000,), 10)
    level = SCHEDULE.level(t[:1])
    draws = GivenDraws({"t": t, "eps": normal(20000, 4, seed=1)})
    loss = density.loss(0.5**0.5 * normal(20000, 4), draws=draws).total.mean()
    signal = 0.5 * level.alpha**2
    torch.testing.assert_close(loss, (signal / (signal + level.sigma**2))[0], atol=0, rtol=0.02)
    assert q_sample(torch.ones(1, 4), torch.zeros(1, 4), level).unique() == level.alpha
