"""RealNVP on images: its network, its couplings, and their numbers of parameters."""

import pytest
import torch
from corekit_realnvp.resnet import NormedConv, ResNet
from corekit_realnvp.tanh_coupling import TanhCoupling
from torch.nn.functional import conv2d
from torch.nn.utils.parametrizations import weight_norm

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.frozen import frozen
from corekit.interfaces.network import Network
from corekit.testing import parametrize_checks

EXACT = {"rtol": 1e-10, "atol": 1e-12}


@parametrize_checks("network", "realnvp.resnet")
def test_promises_of_the_network(check):
    check()


@parametrize_checks("bijector", "realnvp.tanh_coupling")
def test_promises_of_the_coupling(check):
    check()


class OneLayer(Network):
    """The conditioner of the golden couplings: tanh of one convolution, kernels given."""

    def __init__(self, kernels, bias, in_shape, out_shape, context_shape):
        super().__init__(in_shape, out_shape, context_shape)
        self.kernels, self.start = kernels, bias

    def _forward(self, x, context):
        h = torch.tanh(conv2d(x, self.kernels, self.start, padding=1))
        return torch.stack(h.chunk(2, dim=1), dim=1)


def one_layer(arrays, name):
    def net(in_shape, out_shape, context_shape):
        return OneLayer(arrays[f"{name}_W"], arrays[f"{name}_b"], in_shape, out_shape, None)

    return net


@pytest.mark.parametrize("scale", ["scalar", "channel"])
@pytest.mark.parametrize(
    ("name", "split", "swap"),
    [
        ("check4_tl1", "checkerboard", False),
        ("check4_tl0", "checkerboard", True),
        ("check8_tl1", "checkerboard", False),
        ("check8_tl0", "checkerboard", True),
        ("chan_top0", "halves", False),
        ("chan_top1", "halves", True),
    ],
)
def test_a_coupling_has_the_golden_numbers(golden, name, split, swap, scale):
    arrays = golden("coupling")
    x = arrays[f"{name}_x"]
    net = one_layer(arrays, name)
    layer = TanhCoupling(tuple(x.shape[1:]), net=net, split=split, swap=swap, scale=scale).double()
    with torch.no_grad():
        layer.net.scale.fill_(arrays[f"{name}_scale"].item())
        layer.net.shift.fill_(arrays[f"{name}_scale_shift"].item())
    y, logdet = layer(x)
    torch.testing.assert_close(y, arrays[f"{name}_y"], **EXACT)
    torch.testing.assert_close(logdet, arrays[f"{name}_logdet"], **EXACT)
    back, inverse_logdet = layer.inverse(y)
    torch.testing.assert_close(back, x, **EXACT)
    torch.testing.assert_close(inverse_logdet, -logdet, **EXACT)


def test_kernels_are_normalised_as_by_torch():
    """Over all axes but that of the output channels; the golden numbers of a whole flow agree."""
    ours, theirs = NormedConv(3, 5, 3), weight_norm(torch.nn.Conv2d(3, 5, 3, padding=1))
    with torch.no_grad():
        ours.v.copy_(theirs.parametrizations.weight.original1)
        ours.g.copy_(theirs.parametrizations.weight.original0).mul_(0.7)
        theirs.parametrizations.weight.original0.mul_(0.7)
        ours.bias.copy_(theirs.bias)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x))


def test_the_networks_have_the_parameters_of_the_paper():
    image, channels = (3, 32, 32), (6, 16, 16)
    sizes = [
        sum(p.numel() for p in ResNet(shape, (2, *shape)).parameters())
        for shape in (image, channels)
    ]
    assert sizes == [1_458_572, 1_468_952]


def test_a_new_coupling_is_the_identity_and_learns_everything_at_once():
    """The original starts with a factor of zero: r then has no gradient in the first step."""
    layer = TanhCoupling((4, 6, 6), net=lambda **given: ResNet(**given, filters=8, blocks=1))
    x = torch.randn(3, 4, 6, 6)
    z, logdet = layer(x)
    assert torch.equal(z, x)
    assert torch.equal(logdet, torch.zeros(3))
    torch.manual_seed(0)
    (z.square().sum() - logdet.sum()).backward()
    raw, shift = layer.net.net.last.g.grad.flatten().chunk(2)
    assert raw.abs().min() > 0
    assert shift.abs().min() > 0


def test_kernels_are_kept_while_a_network_is_frozen():
    net, x = ResNet((2, 4, 4), (2, 2, 4, 4), filters=3, blocks=1), torch.randn(1, 2, 4, 4)
    calls = []
    first = net.first
    plain, first._weight = first._weight, lambda: calls.append(1) or plain()
    with frozen(net), torch.no_grad():
        one, two = net(x), net(x)
    assert torch.equal(one, two)
    assert calls == [1]


@pytest.mark.parametrize(
    ("context_shape", "near"),
    [((3,), False), ((2, 4, 4), True), ((2, 8, 8), True), ((2, 3, 5), False)],
)
def test_a_context_may_be_an_image(context_shape, near):
    """Its last column reaches two more through two convolutions; what is no image, all."""
    net = ResNet((1, 4, 4), (2, 1, 4, 4), context_shape, filters=4, blocks=0, zero_last=False)
    x, context = torch.randn(2, 1, 4, 4), torch.randn(2, *context_shape)
    moved = context.clone()
    moved[..., -1] += 1
    difference = (net(x, context) - net(x, moved)).abs().amax((0, 1, 2, 3)) > 0
    assert difference.tolist() == [not near, True, True, True]


def test_bad_arguments_are_refused():
    with pytest.raises(ShapeError, match="in_shape must be"):
        ResNet((4,), (2, 4))
    with pytest.raises(UsageError, match="per must be channel or scalar"):
        TanhCoupling((4,), scale="pixel")
