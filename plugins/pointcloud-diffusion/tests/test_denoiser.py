"""PointwiseNet: what it computes, for any number of points, tiled or batched."""

import pytest
import torch
from corekit_pointcloud_diffusion import denoiser as module
from corekit_pointcloud_diffusion.denoiser import PointwiseNet
from corekit_pointcloud_diffusion.schedule import VarianceSchedule

from corekit.diffusion.schedules import Rectified
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.records import Condition


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = PointwiseNet((8, 3), {"vector": (5,)}, hidden=(7, 6)).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net


def inputs(points=8, dimensions=3):
    x = torch.randn(4, points, dimensions, dtype=torch.float64)
    level = VarianceSchedule().level(torch.tensor([0, 50, 100, 199]))
    return (
        x,
        level.map(lambda v: v.double() if v.is_floating_point() else v),
        Condition(vector=torch.randn(4, 5, dtype=torch.float64)),
    )


def test_gate_and_shift_as_the_formula_says(net):
    x, level, condition = inputs()
    context = torch.cat([net._embed(level), condition.vector], 1)
    gates = torch.sigmoid(context @ net.gate.weight.T + net.gate.bias).split([7, 6, 3], 1)
    shifts = (context @ net.shift.weight.T).split([7, 6, 3], 1)
    y = x
    for i, layer in enumerate(net.layers):
        y = layer(y) * gates[i][:, None] + shifts[i][:, None]
        y = torch.nn.functional.leaky_relu(y, 0.01) if i < 2 else y
    torch.testing.assert_close(net(x, level, condition), x + y, rtol=1e-12, atol=1e-12)


def test_tiles_and_batches_agree(net, monkeypatch, one_thread):
    x, level, condition = inputs(points=11)
    monkeypatch.setattr(module, "TILE", 4)
    tiled = net(x, level, condition)
    torch.set_num_threads(2)
    torch.testing.assert_close(tiled, net(x, level, condition), rtol=1e-12, atol=1e-12)


def test_points_do_not_interact_and_any_number_passes(net):
    x, level, condition = inputs(points=13)
    whole = net(x, level, condition)
    torch.testing.assert_close(net(x[:, 3:5], level, condition), whole[:, 3:5])
    assert net(x[:, :1], level, condition).shape == (4, 1, 3)


def test_planar_clouds_and_no_condition():
    net = PointwiseNet((8, 2), hidden=(7,)).double()
    x, level, _ = inputs(dimensions=2)
    assert net(x, level).shape == x.shape
    without = PointwiseNet((8, 2), hidden=(7,), residual=False).double()
    without.load_state_dict(net.state_dict())
    torch.testing.assert_close(net(x, level) - without(x, level), x)


def test_every_parameter_gets_a_gradient_and_the_input_is_not_changed(net):
    x, level, condition = inputs()
    before = x.clone()
    net(x, level, condition).square().sum().backward()
    assert torch.equal(x, before)
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_time_by_beta_needs_betas():
    net = PointwiseNet((8, 3), time="beta")
    level = Rectified().at(torch.tensor([0.5]))
    with pytest.raises(UsageError, match="must have a schedule of betas"):
        net(torch.zeros(1, 8, 3), level)


def test_what_does_not_fit_is_refused(net):
    x, level, condition = inputs()
    with pytest.raises(ShapeError, match=r"\(points, dimensions\), got \(3,\)"):
        PointwiseNet((3,))
    with pytest.raises(ShapeError, match="out_channels must be 3, got 6"):
        PointwiseNet((8, 3), out_channels=6)
    with pytest.raises(ShapeError, match=r"must have shape \(batch, any, 3\), got \(4, 8, 2\)"):
        net(x[..., :2], level, condition)
    with pytest.raises(ShapeError, match="needs the condition 'vector'"):
        net(x, level)
    with pytest.raises(ShapeError, match=r"condition.vector must have shape \(batch, 5\)"):
        net(x, level, Condition(vector=torch.zeros(4, 6)))
