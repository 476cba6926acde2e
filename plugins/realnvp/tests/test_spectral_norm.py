"""Spectral norm of the conditioner: the definition, its limit, and the coupling around it."""

import pickle

import pytest
import torch
from corekit_realnvp.coupling import AffineCoupling
from corekit_realnvp.specs import AffineCouplingSpec

from corekit.errors import ShapeError, UsageError
from corekit.nn.mlp import Mlp
from corekit.nn.spectral import SpectralLinear
from corekit.spec.couplings import MlpSpec


def layer(rows=7, columns=5):
    torch.manual_seed(0)
    made = SpectralLinear(columns, rows).double()
    for value in (made.weight, made.u, made.v):
        torch.nn.init.normal_(value)
    return made


def test_one_iteration_per_call_in_training_and_none_in_evaluation():
    made, x = layer(), torch.randn(3, 5, dtype=torch.float64)
    weight, u = made.weight.detach(), made.u.clone()
    v = weight.T @ u / (weight.T @ u).norm()
    u = weight @ v / (weight @ v).norm()
    want = x @ (weight / (u @ weight @ v)).T + made.bias
    torch.testing.assert_close(made(x), want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((made.u, made.v), (u, v), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(made.eval()(x), want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((made.u, made.v), (u, v), rtol=1e-12, atol=1e-12)


def test_the_largest_singular_value_of_every_layer_tends_to_one():
    torch.manual_seed(0)
    net = Mlp((6,), (2, 3), hidden=(9, 4), zero_last=False, spectral_norm=True).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    layers = [part for part in net.modules() if isinstance(part, SpectralLinear)]
    assert len(layers) == 3
    errors = []
    for calls in (1, 300):
        for _ in range(calls):
            net(torch.zeros(1, 6, dtype=torch.float64))
        found = [torch.linalg.matrix_norm(part.weight / part.sigma(), 2) for part in layers]
        errors.append(max(abs(value.item() - 1) for value in found))
    assert errors[0] > 1e-2
    assert errors[1] < 1e-10


def test_the_gradient_passes_through_sigma():
    made, x = layer().eval(), torch.randn(3, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda weight: torch.func.functional_call(made, {"weight": weight}, x), made.weight
    )
    scaled = torch.func.functional_call(made, {"weight": 3 * made.weight}, x)
    torch.testing.assert_close(scaled, made(x))


def test_a_new_layer_has_iterated_and_keeps_its_vectors_with_the_weights():
    torch.manual_seed(0)
    made = SpectralLinear(6, 8)
    assert abs(torch.linalg.matrix_norm(made.weight / made.sigma(), 2).item() - 1) < 0.05
    other = SpectralLinear(6, 8)
    other.load_state_dict(made.state_dict())
    x = torch.randn(2, 6)
    assert torch.equal(other.eval()(x), made.eval()(x))
    assert torch.equal(pickle.loads(pickle.dumps(made))(x), made(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made.sigma(), other.sigma())
        assert made.sigma().dtype is torch.float32


@pytest.mark.parametrize("scale", ["exp", "sigmoid2"])
def test_the_coupling_is_inverted_and_has_its_jacobian(scale):
    torch.manual_seed(0)
    coupling = AffineCoupling((5,), hidden=6, scale=scale, spectral_norm=True).double().eval()
    assert sum(isinstance(part, SpectralLinear) for part in coupling.modules()) == 3
    x = torch.randn(3, 5, dtype=torch.float64)
    z, logdet = coupling(x)
    assert not torch.equal(z, x)  # it does not start at zero
    torch.testing.assert_close(coupling.inverse(z)[0], x)
    for row in range(3):
        jacobian = torch.func.jacrev(lambda one: coupling(one[None])[0][0])(x[row])
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], logdet[row])


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(UsageError, match="zero_last must be false with spectral_norm, got true"):
        Mlp((2,), (2,), spectral_norm=True)
    with pytest.raises(ValueError, match="zero_last must be false with spectral_norm, got true"):
        MlpSpec(spectral_norm=True)
    with pytest.raises(ShapeError, match=r"must have an event \(D,\), .* got \(2, 4, 4\)"):
        AffineCoupling((2, 4, 4), spectral_norm=True)
    with pytest.raises(ShapeError, match=r"must have an event \(D,\), got \(2, 4, 4\)"):
        AffineCouplingSpec(spectral_norm=True).shape((2, 4, 4))
