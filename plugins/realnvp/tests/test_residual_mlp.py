"""The residual perceptron."""

import torch
from corekit_realnvp.residual_mlp import ResidualMlp

from corekit.testing import parametrize_checks


@parametrize_checks("network", "realnvp.residual_mlp")
def test_promises(check):
    check()


def test_a_context_stands_beside_the_input_and_gates_each_block():
    net = ResidualMlp((2, 2), (3, 4), (2,), hidden=6, blocks=1, activation="tanh")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    x, c = torch.randn(5, 2, 2), torch.randn(5, 2)
    h = net.first(torch.cat((x.flatten(1), c), dim=1))
    block = net.blocks[0]
    added = block.layers[1](torch.tanh(block.layers[0](torch.tanh(h))))
    want = net.last(h + added * torch.sigmoid(block.gate(c)))
    torch.testing.assert_close(net(x, c).flatten(1), want)


def test_a_new_one_gives_zeros_and_all_blocks_learn_at_once():
    assert not ResidualMlp((3,), (2, 3))(torch.randn(4, 3)).any()
    net = ResidualMlp((3,), (2, 3), hidden=8, blocks=2, zero_last=False)
    x = torch.randn(4, 3)
    torch.testing.assert_close(net(x).flatten(1), net.last(net.first(x)), rtol=0, atol=0.05)
    net(x).sum().backward()
    assert all(bool(p.grad.any()) for p in net.parameters())
