"""Von Mises-Fisher: golden divergences, exact gradients, and no NaN in 512 dimensions."""

import math

import numpy as np
import pytest
import torch
from corekit_vae.posteriors.polar import PolarAngle, log_area
from corekit_vae.posteriors.von_mises_fisher import VonMisesFisher, VonMisesFisherHead
from corekit_vae.priors.sphere import UniformSphere
from scipy import stats

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.draws import Draws
from corekit.latent.kl import closed_form_kl

FAR = torch.tensor([0.0, 1e-3, 1.0, 50.0, 1e4, 1e8], dtype=torch.float64)


def seed(number=0):
    return Draws(torch.Generator().manual_seed(number))


def around(kappa, m, dtype=torch.float64):
    mu = torch.nn.functional.normalize(torch.randn(len(kappa), m, dtype=dtype), dim=1)
    return VonMisesFisher(mu, kappa.to(dtype))


@pytest.mark.parametrize("m", [3, 10, 50, 128])
def test_the_divergence_to_uniform_is_the_golden_one(golden_root, m):
    truth = np.load(golden_root / "vae" / "truth.npz")
    q = around(torch.tensor(truth["vmf/kappa"]), m)
    want = torch.tensor(truth[f"vmf/kl_m{m}"])
    torch.testing.assert_close(closed_form_kl(q, UniformSphere((m,))), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("m", "kappas"), [(2, [0.1, 700]), (17, [0.1, 700]), (512, [900, 4e4])])
def test_density_and_entropy_are_those_of_scipy(m, kappas):
    """At m = 512 and small concentrations the Bessel function of scipy underflows."""
    q = around(torch.tensor(kappas, dtype=torch.float64), m)
    z, log_q = q.rsample_and_log_prob(seed())
    for row, kappa in enumerate(kappas):
        other = stats.vonmises_fisher(q.mu[row].numpy(), kappa)
        unit = (z[row] / z[row].norm()).numpy()
        assert log_q.value[row].item() == pytest.approx(other.logpdf(unit), abs=1e-8)
        assert q.entropy()[row].item() == pytest.approx(other.entropy(), abs=1e-8)


def test_in_three_dimensions_it_is_elementary():
    """Z = (1 - e^(-2 kappa)) / kappa, and the cosine is an exponential, cut off."""
    kappa = torch.tensor([0.5, 4.0, 300.0], dtype=torch.float64)
    angle = PolarAngle(kappa, 3)
    want = ((1 - (-2 * kappa).exp()) / kappa).log()
    torch.testing.assert_close(angle.log_z, want, rtol=1e-12, atol=1e-12)
    u = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    spread = -(1 - u * (1 - (-2 * kappa).exp())).log() / kappa  # 1 - cos
    torch.testing.assert_close(2 * (angle.draw(u) / 2).sin().square(), spread)


@pytest.mark.parametrize("m", [2, 3, 5, 64, 512])
def test_a_draw_inverts_the_distribution_function(m):
    """Against numbers integrated by another rule."""
    kappa = torch.tensor([0.5, 20.0, 3000.0], dtype=torch.float64)
    u = torch.tensor([1e-4, 0.03, 0.5, 0.97, 0.9999], dtype=torch.float64)
    theta = PolarAngle(kappa, m).draw(u.repeat_interleave(3)).reshape(5, 3)
    for row, k in enumerate(kappa.tolist()):
        grid = torch.linspace(1e-12, math.pi, 1_000_001, dtype=torch.float64)
        density = ((m - 2) * grid.sin().abs().log() - k * (1 - grid.cos())).nan_to_num()
        mass = torch.cumulative_trapezoid((density - density.max()).exp(), grid)
        mass = torch.cat([torch.zeros(1, dtype=mass.dtype), mass / mass[-1]])
        at = np.interp(theta[:, row].numpy(), grid.numpy(), mass.numpy())
        np.testing.assert_allclose(at, u.numpy(), atol=2e-6)


@pytest.mark.parametrize("m", [2, 3, 512])
def test_the_last_uniform_numbers_have_finite_angles_and_gradients(m):
    kappa = FAR.clone().requires_grad_()
    u = torch.tensor([0.0, 1e-300, 1 - 2.0**-53], dtype=torch.float64).repeat_interleave(6)
    theta = PolarAngle(kappa, m).draw(u)
    (slope,) = torch.autograd.grad(theta.sum(), kappa)
    assert theta.isfinite().all()
    assert slope.isfinite().all()
    assert theta.reshape(3, 6).diff(dim=0).ge(0).all()


@pytest.mark.parametrize("m", [2, 3, 40])
def test_gradients_of_an_expectation_are_right(m):
    """f(z) = a.z + (b.z)^2, whose mean takes E[cos] and E[cos^2] = 1 - (m - 1) E[cos] / kappa."""
    a, b = torch.randn(2, m, dtype=torch.float64)
    w, kappa = torch.randn(m, dtype=torch.float64), torch.tensor(2.0 + m / 8, dtype=torch.float64)

    def of(w, kappa):
        return VonMisesFisher(torch.nn.functional.normalize(w, dim=1), kappa)

    many = [v.expand(20_000, *v.shape).clone().requires_grad_() for v in (w, kappa)]
    z, _ = of(*many).rsample_and_log_prob(seed())
    found = torch.autograd.grad((z @ a + (z @ b).square()).sum(), many)
    one = [v[None].clone().requires_grad_() for v in (w, kappa)]
    q = of(*one)
    mean = 1 - PolarAngle(q.kappa, m).spread
    square = 1 - (m - 1) * mean / q.kappa
    along = q.mu @ b
    rest = (b.square().sum() - along.square()) * (1 - square) / (m - 1)
    value = mean * (q.mu @ a) + square * along.square() + rest
    want = torch.autograd.grad(value.sum(), one)
    for got, right in zip(found, want, strict=True):
        error = got.std(0) / math.sqrt(len(got))
        assert ((got.mean(0) - right[0]).abs() <= 3.5 * error).all()


def test_the_gradient_of_a_draw_is_its_slope_on_either_side_of_the_axis():
    kappa = torch.tensor([0.3, 5.0, 60.0, 2e4], dtype=torch.float64).requires_grad_()
    for m in (2, 3, 30):
        u = torch.rand(4, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda k, m=m, u=u: PolarAngle(k, m).draw(u), [kappa])


def test_densities_integrate_to_one_on_circle_and_sphere():
    phi = torch.linspace(0, 2 * math.pi, 4097, dtype=torch.float64)
    q = around(torch.tensor([7.0]), 2).repeated(4097)
    circle = torch.stack([phi.cos(), phi.sin()], 1)
    assert torch.trapezoid(q.log_prob(circle).value.exp(), phi).item() == pytest.approx(1, abs=1e-9)
    points = UniformSphere((3,)).double().sample(20_000, generator=seed())
    density = around(torch.tensor([2.0]), 3).repeated(20_000).log_prob(points).value.exp()
    mean = density.mean() * math.exp(log_area(3))
    assert mean.item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("m", [2, 3, 512])
def test_extreme_concentrations_stay_finite_with_their_gradients(m, dtype):
    mu = torch.eye(m, dtype=dtype)[:1].expand(6, m).clone()
    mu[1::2] *= -1
    kappa = FAR.to(dtype, copy=True).requires_grad_()
    q = VonMisesFisher(mu.requires_grad_(), kappa)
    z, log_q = q.rsample_and_log_prob(seed(), 50)
    assert z.dtype is log_q.value.dtype is dtype
    torch.testing.assert_close(z.norm(dim=1), torch.ones(300, dtype=dtype))
    total = z.sum() + log_q.value.sum() + q.entropy().sum() + q.log_prob(q.mode).value.sum()
    total.backward()
    assert total.isfinite()
    assert kappa.grad.isfinite().all()
    assert mu.grad.isfinite().all()


@pytest.mark.parametrize("m", [2, 3, 200])
def test_the_density_of_a_draw_is_log_prob(m):
    q = around(torch.tensor([0.5, 30.0, 900.0]), m)
    z, log_q = q.rsample_and_log_prob(seed(), 20)
    again = q.repeated(20).log_prob(z).value
    torch.testing.assert_close(again, log_q.value, rtol=1e-10, atol=1e-10)


def test_a_head_gives_unit_means_of_one_row_and_refuses_what_is_no_sphere():
    q = VonMisesFisherHead((5,), (2, 2, 2), floor=3.0)(torch.randn(1, 5))
    assert q.mode.square().sum().item() == pytest.approx(1, abs=1e-6)
    assert q.kappa.item() > 3
    with pytest.raises(ShapeError, match="at least 2 numbers"):
        VonMisesFisherHead((5,), (1,))
    with pytest.raises(UsageError, match="floor must be at least 0, got -1"):
        VonMisesFisherHead((5,), (3,), floor=-1)
