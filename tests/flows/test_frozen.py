"""Inside `frozen` nothing is computed twice, and nothing is out of date."""

from functools import partial

import pytest
import torch
from torch import nn

from corekit.data_spec import DataSpec
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain
from corekit.flows.householder import Householder
from corekit.flows.linear import Linear
from corekit.flows.lu_linear import LuLinear
from corekit.flows.model import FlowModel
from corekit.flows.multiscale import MultiScale
from corekit.flows.prior import FlowPrior
from corekit.interfaces.frozen import Derived, frozen
from corekit.train.sampling import generate

derived = Derived.derived


class Doubled(Derived):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.times = 0

    def forward(self):
        def compute():
            self.times += 1
            return 2 * self.weight

        return self.derived("double", compute, self.weight)


@pytest.fixture
def part():
    return Doubled()


@torch.no_grad()
def test_it_is_computed_once(part):
    part(), part()
    assert part.times == 2
    with frozen(nn.Sequential(part)):
        part(), part()
        with frozen(part):
            part()
        part()
    assert part.times == 3
    part()
    assert part.times == 4


@torch.no_grad()
def test_a_changed_parameter_is_noticed(part):
    with frozen(part):
        part()
        part.weight.add_(1)
        assert part().tolist() == [4, 4]
        part.load_state_dict({"weight": torch.zeros(2)})
        assert part().tolist() == [0, 0]
        part.double()
        assert part().dtype is torch.float64
    assert part._kept is None


def test_gradients_are_never_kept(part):
    with frozen(part):
        for _ in range(2):
            part().sum().backward()
        with torch.no_grad():
            part(), part()
    assert part.weight.grad.tolist() == [4, 4]
    assert part.times == 3


def test_an_error_inside_lets_go(part):
    with pytest.raises(RuntimeError, match="inside"), frozen(part):
        raise RuntimeError("inside")
    assert part._kept is None


@torch.no_grad()
def test_a_flow_gives_the_same_frozen():
    flow = Chain((4,), of=[Linear, Linear]).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    want = flow(x), flow.inverse(x)
    with frozen(flow):
        for _ in range(2):
            for got, exact in zip((flow(x), flow.inverse(x)), want, strict=True):
                torch.testing.assert_close(got[0], exact[0], rtol=0, atol=0)
                torch.testing.assert_close(got[1], exact[1], rtol=0, atol=0)


@pytest.mark.parametrize("of", [FlowModel, FlowPrior, MultiScale])
@torch.no_grad()
def test_models_densities_and_bijectors_freeze_themselves(of):
    torch.manual_seed(0)
    layers = partial(MultiScale, levels=2, of=[ActNorm, LuLinear, Householder])
    shape = (4, 3, 3)
    flow = {
        FlowModel: lambda: FlowModel(DataSpec(shape), bijector=layers),
        FlowPrior: lambda: FlowPrior(shape, bijector=layers),
        MultiScale: lambda: layers(shape),
    }[of]()
    x = torch.randn(5, *shape)
    run = flow if of is MultiScale else (lambda x: flow.log_prob(x).value)
    want, parts = run(x), [m for m in flow.modules() if isinstance(m, Derived)]
    with flow.frozen() as same:
        assert same is flow
        for _ in range(2):
            torch.testing.assert_close(run(x), want, rtol=0, atol=0)
        assert len(parts) == 4
        assert all(part._kept for part in parts)
    assert all(part._kept is None for part in parts)


@torch.no_grad()
def test_evaluation_and_samples_of_a_run_are_frozen(monkeypatch):
    flow = FlowModel(DataSpec((3,)), bijector=LuLinear)
    want = generate(flow, 70, seed=1)
    counts = []
    monkeypatch.setattr(
        Derived, "derived", lambda self, *of: counts.append(self._kept) or derived(self, *of)
    )
    assert torch.equal(generate(flow, 70, seed=1), want)
    assert counts
    assert all(kept is not None for kept in counts)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Guards may run slower")  # of torch, on Python 3.13.0
def test_a_compiled_flow_keeps_nothing_and_gives_the_same():
    flow = LuLinear((4,)).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    run = torch.compile(lambda x: flow(x)[0], backend="eager", fullgraph=True)
    with flow.frozen():
        z = run(x)
        assert flow._kept == {}
    torch.testing.assert_close(z, flow(x)[0])
