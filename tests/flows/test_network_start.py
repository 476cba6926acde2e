"""Layers hand data on to networks that start from them."""

from functools import partial

import pytest
import torch

from corekit.flows.affine import Affine
from corekit.flows.bases import Gaussian
from corekit.flows.compose import Chain, Inverse
from corekit.flows.coupling import Coupling
from corekit.flows.elementwise import Elementwise
from corekit.flows.linear import Linear
from corekit.flows.multiscale import MultiScale, Split
from corekit.flows.prior import FlowPrior
from corekit.interfaces.initialization import starts_from_data
from corekit.interfaces.records import Condition
from corekit.nn.mlp import Mlp


class Starting(Mlp):
    """Keeps the mean of what it starts from."""

    def initialize(self, x, context=None):
        self.mean = x.mean(0)
        self.given = context


def nets(bijector):
    return [module for module in bijector.modules() if isinstance(module, Starting)]


NET = partial(Starting, hidden=(4,), zero_last=False)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("context_shape", [None, (2,)])
def test_the_network_of_a_coupling_starts_from_what_it_will_see(turned, context_shape):
    coupling = Coupling((5,), context_shape, net=NET)
    layer = Inverse((5,), context_shape, of=coupling) if turned else coupling
    x, context = torch.randn(9, 5), None if context_shape is None else torch.randn(9, 2)
    assert starts_from_data(layer)
    z = layer.initialize(x, context)
    torch.testing.assert_close(z, layer(x, context)[0])
    assert torch.equal(coupling.net.mean, x[:, :3].mean(0))
    assert coupling.net.given is context


def test_every_network_in_a_chain_starts_once_those_before_have():
    flow = Chain((6,), of=[Linear, partial(Coupling, net=NET), partial(Split, net=NET)])
    x = torch.randn(9, 6)
    z = flow.initialize(x)
    first, second = nets(flow)
    mixed = flow[0](x)[0]
    torch.testing.assert_close(first.mean, mixed[:, :3].mean(0))
    torch.testing.assert_close(second.mean, flow[1](mixed)[0][:, :3].mean(0))
    torch.testing.assert_close(z, flow(x)[0])


def test_a_split_that_runs_backwards_starts_from_its_latents():
    split = Split((6,), of=partial(Coupling, net=NET), net=NET)
    turned = Inverse((6,), of=split)
    z = torch.randn(9, 6)
    x = turned.initialize(z)
    torch.testing.assert_close(x, turned(z)[0])
    torch.testing.assert_close(split.net.mean, x[:, :3].mean(0))


def test_the_network_of_a_context_starts_from_contexts():
    layer = Elementwise((3,), (2,), univariate=Affine(), net=NET)
    context = torch.randn(9, 2)
    layer.initialize(torch.randn(9, 3), context)
    assert torch.equal(layer.net.mean, context.mean(0))


def test_a_layer_leaves_aside_a_context_that_its_network_leaves_aside():
    def blind(in_shape, out_shape, context_shape=None):
        return Mlp(in_shape, out_shape, hidden=(4,))

    coupling = Coupling((4,), (2,), net=blind)
    assert coupling.context_shape is None
    split = Split((4,), (2,), net=blind)
    assert split.context_shape is None
    with_context = Split((4,), (2,), net=blind, of=Coupling)
    assert with_context.context_shape == (2,)
    flow = MultiScale((8,), (2,), levels=2, of=partial(Coupling, net=blind), net=blind, top=Linear)
    assert flow.context_shape is None
    x = torch.randn(3, 8)
    torch.testing.assert_close(flow.inverse(flow(x)[0])[0], x)


def test_the_network_of_a_conditional_base_starts_from_the_vectors():
    prior = FlowPrior(
        (3,),
        {"vector": (2,)},
        bijector=partial(Coupling, net=NET),
        base=partial(Gaussian, net=NET),
    )
    x, vector = torch.randn(9, 3), torch.randn(9, 2)
    prior.initialize(x, Condition(vector=vector))
    assert torch.equal(prior.base.net.mean, vector.mean(0))
    assert torch.equal(prior.bijector.net.mean, x[:, :2].mean(0))
