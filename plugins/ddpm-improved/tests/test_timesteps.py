"""Which levels are drawn: the numbers of the reference, and what makes each sampler what it is."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.schedules import Cosine, Linear
from corekit_ddpm_improved.timesteps import Antithetic, LogNormal, LossSecondMoment
from corekit_ddpm_improved.unet import UNet

from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.schedules import Rectified
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws, GivenDraws, NoNoise, RowDraws

CPU = torch.device("cpu")
GOLDEN = {"T8_H10_u0.001": (8, 10, 0.001), "T5_H3_u0.001": (5, 3, 0.001), "T6_H4_u0.1": (6, 4, 0.1)}


def seeded(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def numbers(golden):
    with np.load(golden / "samplers.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", GOLDEN)
def test_loss_second_moment_is_the_reference(numbers, name):
    steps, history, share = GOLDEN[name]
    part = LossSecondMoment(history=history, uniform_share=share)
    schedule = Cosine(steps)
    part.prepare(schedule)
    rows = {key: numbers[f"{name}/{key}"] for key in ("ts", "losses", "weights", "warmed")}
    for t, losses, weights, warmed in zip(*rows.values(), strict=True):
        part.observe(torch.from_numpy(t), torch.from_numpy(losses))
        share_of = weights / weights.sum()
        np.testing.assert_allclose(part.probabilities.numpy(), share_of, rtol=1e-12)
        assert bool((part.counts == history).all()) == warmed
    np.testing.assert_array_equal(part.counts.numpy(), numbers[f"{name}/counts"])
    np.testing.assert_array_equal(part.losses.double().numpy(), numbers[f"{name}/history"])
    assert rows["warmed"][-1] == (name != "T8_H10_u0.001") or rows["warmed"].any()
    drawn = torch.from_numpy(np.random.RandomState(0).random_sample(32))  # what choice() looks up
    level, weight = part.sample(32, schedule, GivenDraws({"t": drawn}), CPU)
    np.testing.assert_array_equal(level.step.numpy(), numbers[f"{name}/np_seed0_indices"])
    np.testing.assert_allclose(weight.numpy(), numbers[f"{name}/np_seed0_weights"], rtol=1e-6)


def slowly(part, t, losses):
    """The reference's loop over rows."""
    for step, loss in zip(t.tolist(), losses.tolist(), strict=True):
        if part.counts[step] == part.history:
            part.losses[step, :-1] = part.losses[step, 1:].clone()
            part.losses[step, -1] = loss
        else:
            part.losses[step, part.counts[step]] = loss
            part.counts[step] += 1


def test_a_batch_may_hold_a_step_more_often_than_is_remembered():
    fast, slow = LossSecondMoment(4, history=3), LossSecondMoment(4, history=3)
    for _ in range(8):
        rows = int(torch.randint(1, 30, ()))
        t, losses = torch.randint(0, 4, (rows,)), torch.rand(rows)
        fast.observe(t, losses)
        slowly(slow, t, losses)
        assert torch.equal(fast.losses, slow.losses)
        assert torch.equal(fast.counts, slow.counts)


def test_losses_of_a_respaced_schedule_are_those_of_its_own_steps():
    """A network is told original steps, and so is `observe`."""
    schedule = Linear(1000, respacing=[4])
    part = LossSecondMoment(history=1)
    net = partial(UNet, channels=2, multipliers=(1,), blocks=1, heads=1)
    density = DiffusionDensity(
        (1, 4, 4), denoiser=net, schedule=schedule, timesteps=part, loss=Mse()
    )
    terms = density.loss(torch.randn(9, 1, 4, 4), draws=seeded())
    seen, _ = terms.seen["timesteps"]
    assert set(seen.tolist()) <= {0, 333, 666, 999}
    part.observe(torch.tensor([0, 333, 666, 999]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert part.losses.flatten().tolist() == [1, 2, 3, 4]


def test_loss_second_moment_refuses_what_it_cannot_remember():
    with pytest.raises(UsageError, match="must have steps, got a continuous one"):
        LossSecondMoment().prepare(Rectified())
    with pytest.raises(UsageError, match="must have 5 steps, got 6"):
        LossSecondMoment(5).prepare(Cosine(6))


def test_losses_of_zero_everywhere_leave_it_uniform():
    part = LossSecondMoment(3, history=1)
    part.observe(torch.arange(3), torch.zeros(3))
    assert part.probabilities.tolist() == pytest.approx([1 / 3] * 3)


def test_rare_steps_are_drawn_as_often_as_they_should_be():
    """In float32 the shares of 4000 steps, added up, would round such a one away."""
    part = LossSecondMoment(4000, history=1, uniform_share=1e-4)
    losses = torch.zeros(4000)
    losses[0] = 1.0
    part.observe(torch.arange(4000), losses)
    edges = part.probabilities.cumsum(0)
    u = ((edges[1:] + edges[:-1]) / 2).to(torch.float64)
    level, weight = part.sample(3999, Cosine(4000), GivenDraws({"t": u}), CPU)
    assert level.step.tolist() == list(range(1, 4000))
    torch.testing.assert_close(weight, torch.full((3999,), 10_000.0))


@pytest.mark.parametrize("schedule", [Rectified(), Cosine(96)], ids=["continuous", "table"])
@pytest.mark.parametrize("rows", [8, 7])
def test_antithetic_levels_of_all_ranks_have_equal_distances(schedule, rows):
    times = []
    for rank in range(3):
        own = torch.Generator().manual_seed(rank)
        common = torch.Generator().manual_seed(7)
        draws = Draws(own, rank=rank, world=3, common=common)
        level, weight = Antithetic().sample(rows, schedule, draws, CPU, rank=rank, world=3)
        assert weight is None
        times.append(level.time)
    gaps = torch.cat(times).sort().values.diff()
    width = 1 / (3 * rows)
    slack = 1 / 96 if isinstance(schedule, Cosine) else 1e-6
    assert (gaps - width).abs().max() <= slack
    assert len(torch.cat(times).unique()) == 3 * rows


def test_antithetic_offsets_differ_from_batch_to_batch_and_not_from_rank_to_rank():
    draws = [
        Draws(torch.Generator().manual_seed(rank), common=torch.Generator().manual_seed(3), world=2)
        for rank in (0, 1)
    ]
    first = [d.shared("t", torch.empty(0)) for d in draws]
    second = [d.shared("t", torch.empty(0)) for d in draws]
    assert first[0] == first[1]
    assert second[0] == second[1]
    assert first[0] != second[0]
    assert first[0].shape == ()


def test_shared_numbers_are_drawn_again_after_a_mark():
    for draws in (
        Draws(torch.Generator().manual_seed(0), common=torch.Generator().manual_seed(1)),
        Draws(torch.Generator().manual_seed(0)),
        RowDraws(0, range(3)),
    ):
        back = draws.mark()
        first = draws.shared("t", torch.empty(0))
        back()
        assert draws.shared("t", torch.empty(0)) == first
    assert NoNoise().shared("t", torch.empty(0)) == 0.5
    assert RowDraws(0, []).shared("t", torch.empty(0)).shape == ()


@pytest.mark.parametrize(
    ("schedule", "mean", "std"),
    [(Rectified(), -1.2, 1.2), (Rectified(), 0.0, 1.0), (Cosine(4000), -0.5, 1.0)],
)
def test_log_normal_is_normal_in_the_log_of_sigma_over_alpha(schedule, mean, std):
    level, weight = LogNormal(mean, std).sample(20_000, schedule, seeded(), CPU)
    ratio = (level.sigma.double() / level.alpha.double()).log()
    assert weight is None
    assert ratio.mean().item() == pytest.approx(mean, abs=5 * std / math.sqrt(20_000))
    assert ratio.std().item() == pytest.approx(std, rel=5 / math.sqrt(40_000))
    third = ((ratio - mean) / std).pow(3).mean().item()
    assert abs(third) < 5 * math.sqrt(15 / 20_000)


def test_log_normal_takes_the_nearest_level_of_a_table():
    schedule = Cosine(50, zero_terminal_snr=True)
    table = -schedule.level(torch.arange(50)).log_snr / 2
    given = torch.linspace(-3, 4, 200)
    level, _ = LogNormal(0.0, 1.0).sample(200, schedule, GivenDraws({"t": given}), CPU)
    nearest = (table[None, :-1] - given[:, None]).abs().argmin(1)
    assert torch.equal(level.step, nearest)


def test_log_normal_says_that_it_weighs_levels_anew():
    assert not LogNormal.unbiased
    assert LossSecondMoment.unbiased
    assert Antithetic.unbiased
