"""Solvers of the probability flow: their formulas, their ends, what a step costs."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from corekit.diffusion.dpm_solver import DpmSolver
from corekit.diffusion.karras import Euler, Heun
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)
from corekit.diffusion.unipc import UniPc
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Prediction
from corekit.testing.oracle import GaussianOracle, Trigonometric

MEAN = torch.tensor([0.3, -1.0], dtype=torch.float64)
ORACLE = GaussianOracle(MEAN, torch.tensor([0.25, 2.0], dtype=torch.float64))
SOLVERS = {
    "1": DpmSolver(order=1),
    "2M": DpmSolver(),
    "2S": DpmSolver(multistep=False),
    "unipc": UniPc(),
    "unipc_bh1": UniPc(b="bh1"),
    "heun": Heun(),
    "euler": Euler(),
}
TABLES = {
    "linear": DiscreteSchedule(linear_betas(40)),
    "cosine": DiscreteSchedule(cosine_betas(40)),
    "zero_snr": DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(40))),
}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def end(schedule, time):
    return schedule.at(torch.tensor([time], dtype=torch.float64))


def run(solver, schedule, x_T, steps, predict=ORACLE.predict):
    return solver(predict, schedule, x_T, times=solver.times(schedule, steps))


@pytest.mark.parametrize("schedule", [Trigonometric(), Rectified()])
@pytest.mark.parametrize("name", ["2M", "2S", "unipc", "unipc_bh1"])
def test_the_claimed_order_on_the_default_grid(schedule, name):
    """Up to a logarithm: both ends are infinitely far in log-SNR."""
    x_T, steps = normal(5, 2), (64, 128, 256, 512)
    exact = ORACLE.flow(x_T, end(schedule, 1.0), end(schedule, 0.0))
    errors = [(run(SOLVERS[name], schedule, x_T, n) - exact).square().mean().sqrt() for n in steps]
    scaled = [e.item() / math.log(n) for e, n in zip(errors, steps, strict=True)]
    assert -np.polyfit(np.log(steps), np.log(scaled), 1)[0] > 1.85


def test_heun_converges_on_its_default_grid_to_what_its_ends_leave():
    x_T = normal(5, 2)
    exact = ORACLE.flow(x_T, end(Rectified(), 1.0), end(Rectified(), 0.0))
    errors = [
        (run(Heun(), Rectified(), x_T, n) - exact).square().mean().sqrt().item()
        for n in (20, 40, 80)
    ]
    assert errors[0] / errors[1] > 3.5
    assert errors[1] / errors[2] > 3.5
    assert errors[2] < 1e-3


def predictions(schedule, times, seed=3):
    """A network that says what it likes, one x_0 for each level."""
    said = normal(len(times), 3, 2, seed=seed)

    def predict(x, level):
        i = int((times - level.time[0]).abs().argmin())
        return Prediction(said[i], (x - level.alpha[:, None] * said[i]) / level.sigma[:, None])

    return predict, said


def test_2m_is_the_algorithm_of_the_paper():
    """Lu et al. 2022, algorithm 2, with h and r in log(alpha / sigma)."""
    schedule, times = Trigonometric(), torch.tensor([0.9, 0.7, 0.4, 0.1, 0.0]).double()
    predict, said = predictions(schedule, times)
    level = schedule.at(times)
    lam = level.alpha.log() - level.sigma.log()
    x = x_T = normal(3, 2)
    for i in range(3):
        h = lam[i + 1] - lam[i]
        d = said[i]
        if i > 0:
            r = (lam[i] - lam[i - 1]) / h
            d = (1 + 1 / (2 * r)) * said[i] - 1 / (2 * r) * said[i - 1]
        x = level.sigma[i + 1] / level.sigma[i] * x - level.alpha[i + 1] * torch.expm1(-h) * d
    found = []
    DpmSolver()(predict, schedule, x_T, times=times, callback=lambda i, x, p: found.append(x))
    torch.testing.assert_close(found[2], x)
    torch.testing.assert_close(found[3], said[3])  # the step to data returns what is predicted


@pytest.mark.parametrize("points", [[0.9, 0.7, 0.4, 0.1, 0.0], [0.9, 0.7, 0.4, 0.0]])
def test_2s_is_the_algorithm_of_the_paper(points):
    """Lu et al. 2022, algorithm 1; a step that is left over is the first one."""
    schedule, times = Trigonometric(), torch.tensor(points).double()
    predict, said = predictions(schedule, times)
    level = schedule.at(times)
    lam = level.alpha.log() - level.sigma.log()

    def first_order(x, t, s, d):
        decay = torch.expm1(lam[t] - lam[s])
        return level.sigma[s] / level.sigma[t] * x - level.alpha[s] * decay * d

    x = x_T = normal(3, 2)
    start = len(points) % 2  # five times: a step, a pair, the step to data
    if start:
        x = first_order(x, 0, 1, said[0])
    r = (lam[start + 1] - lam[start]) / (lam[start + 2] - lam[start])
    d = (1 - 1 / (2 * r)) * said[start] + 1 / (2 * r) * said[start + 1]
    x = first_order(x, start, start + 2, d)
    found = []
    solver = DpmSolver(multistep=False)
    solver(predict, schedule, x_T, times=times, callback=lambda i, x, p: found.append(x))
    torch.testing.assert_close(found[-2], x)


@pytest.mark.parametrize("b", ["bh1", "bh2"])
def test_unipc_solves_the_equations_of_the_paper(b):
    """Zhao et al. 2023, algorithms 5 and 6, data prediction, its linear system solved as one."""
    schedule, times = Trigonometric(), torch.tensor([0.9, 0.7, 0.4, 0.2, 0.0]).double()
    predict, said = predictions(schedule, times)
    level = schedule.at(times)
    lam = level.alpha.log() - level.sigma.log()
    x_T, found = normal(3, 2), []
    UniPc(b=b)(predict, schedule, x_T, times=times, callback=lambda i, x, p: found.append(x))

    def corrected(x, i):
        """x at level i + 1, from the corrected x at level i."""
        h = lam[i + 1] - lam[i]
        size = torch.expm1(-h) if b == "bh2" or i == 0 else -h
        base = level.sigma[i + 1] / level.sigma[i] * x
        base = base - level.alpha[i + 1] * torch.expm1(-h) * said[i]
        ahead = said[i + 1] - said[i]
        if i == 0:
            return base - level.alpha[1] * size * 0.5 * ahead, base
        r = (lam[i - 1] - lam[i]) / h
        back = (said[i - 1] - said[i]) / r
        phi_2 = torch.expm1(-h) / -h - 1
        phi_3 = phi_2 / -h - 0.5
        system = torch.tensor([[1.0, 1.0], [r, 1.0]]).double()
        rho = torch.linalg.solve(system, torch.stack((phi_2 / size, 2 * phi_3 / size)))
        whole = base - level.alpha[i + 1] * size * (rho[0] * back + rho[1] * ahead)
        return whole, base - level.alpha[i + 1] * size * 0.5 * back

    x = x_T
    for i in range(3):
        x, predicted = corrected(x, i)
        torch.testing.assert_close(found[i], predicted)
    torch.testing.assert_close(found[3], said[3])


def test_heun_is_the_algorithm_of_the_paper():
    """Karras et al. 2022, algorithm 1, in x / alpha and sigma / alpha; rectified flow too."""
    for schedule in (Trigonometric(), Rectified()):
        times = torch.tensor([0.8, 0.7, 0.6, 0.5, 0.0]).double()
        level = schedule.at(times)
        r = level.sigma / level.alpha
        x_T, found = normal(3, 2), []
        Heun()(ORACLE.predict, schedule, x_T, times=times, callback=lambda i, x, p: found.append(x))  # noqa: B023

        def slope(x, i, schedule=schedule, level=level, times=times):
            return ORACLE.predict(level.alpha[i] * x, end(schedule, times[i].item())).eps

        x = x_T / level.alpha[0]
        for i in range(3):
            first = slope(x, i)
            second = slope(x + (r[i + 1] - r[i]) * first, i + 1)
            x = x + (r[i + 1] - r[i]) * (first + second) / 2
            torch.testing.assert_close(found[i], level.alpha[i + 1] * x)


@pytest.mark.parametrize("schedule", [Rectified(), TABLES["zero_snr"], TABLES["cosine"]])
def test_euler_and_first_order_are_ddim(schedule):
    x_T, times = normal(3, 2), schedule.times(7)
    wanted = Ddim()(ORACLE.predict, schedule, x_T, times=times)
    for solver in (Euler(), DpmSolver(order=1)):
        found = solver(ORACLE.predict, schedule, x_T, times=times)
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("table", TABLES)
def test_any_number_of_steps_gives_samples(name, table):
    """No NaN from pure noise, none to data; more steps are better than two."""
    schedule, x_T = TABLES[table], normal(5, 2)
    exact = ORACLE.flow(x_T, end(schedule, 1.0), end(schedule, 0.0))
    errors = [
        (run(SOLVERS[name], schedule, x_T, n) - exact).abs().max().item()
        for n in (1, 2, 3, 10, 39, 40)
    ]
    assert max(errors) < 4
    assert errors[-1] < 0.25 * errors[0]


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("schedule", [Rectified(), TABLES["zero_snr"]])
def test_the_first_step_from_pure_noise_is_that_of_the_limit(name, schedule):
    """With alpha nearly 0 in place of 0: log-SNR is finite, and the samples are the same."""

    class Nearly(type(schedule)):
        def __init__(self):
            pass

        def at(self, time):
            level = schedule.at(time)
            return level._replace(alpha=level.alpha.clamp(min=1e-300))

    x_T = normal(5, 2)
    times = SOLVERS[name].times(schedule, 8)
    exact, nearly = (
        SOLVERS[name](ORACLE.predict, used, x_T, times=times) for used in (schedule, Nearly())
    )
    # a share of it stays: h_1 / h_0 is about 1 / 700
    torch.testing.assert_close(exact, nearly, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", SOLVERS)
def test_how_often_the_network_is_called(name):
    for steps in (1, 2, 5, 6):
        calls = []

        def predict(x, level, calls=calls):
            calls.append(level.time[0].item())
            return ORACLE.predict(x, level)

        solver = SOLVERS[name]
        times = solver.times(TABLES["cosine"], steps)
        solver(predict, TABLES["cosine"], normal(2, 2), times=times)
        asked = times[:-1].tolist()
        if name == "heun":  # twice at each level but the first
            assert sorted(calls) == sorted(asked + asked[1:])
        else:
            assert calls == asked


class Counted(TorchDispatchMode):
    """Counts the operations that a step of a sampler adds to the calls of the network."""

    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations += 1
        return function(*args, **(kwargs or {}))


# each: x * a + y * b + ...; a scaled sum is two operations
@pytest.mark.parametrize(
    ("solver", "most"),
    [
        (Ddim(), 3),
        (Ancestral(), 7),
        (DpmSolver(order=1), 3),
        (DpmSolver(), 6),
        (DpmSolver(multistep=False), 5),
        (UniPc(), 11),
        (Euler(), 3),
        (Heun(), 6),
    ],
)
def test_a_step_costs_a_few_operations(solver, most):
    """Beside the network: whatever it costs, samplers add little, and nothing waits."""
    x_T = normal(4, 3, 8, 8, dtype=torch.float32)
    said = Prediction(torch.zeros_like(x_T), torch.ones_like(x_T))
    counts = []
    for steps in (10, 20):
        with Counted() as counted:
            seen = []

            def mark(i, x, prediction, seen=seen, counted=counted):
                seen.append(counted.operations)

            schedule = TABLES["linear"]
            times = solver.times(schedule, steps)
            solver(lambda x, level: said, schedule, x_T, times=times, callback=mark)
        counts += np.diff(seen[1:]).tolist()
    assert max(counts) <= most
