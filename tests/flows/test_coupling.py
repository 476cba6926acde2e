"""Affine couplings against golden numbers: checkerboards and channels, with a given network."""

import pytest
import torch

from corekit.flows.affine import Affine
from corekit.flows.coupling import Coupling
from corekit.interfaces.network import Network

EXACT = {"rtol": 1e-10, "atol": 1e-12}


class Given(Network):
    """One tanh convolution, and a tanh of the log-scale with a learned scale and shift."""

    def __init__(self, in_shape, out_shape, context_shape=None):
        super().__init__(in_shape, out_shape, context_shape)
        channels = (2 * out_shape[1], in_shape[0], 3, 3)
        self.register_buffer("W", torch.empty(channels))
        self.register_buffer("b", torch.empty(channels[0]))
        self.register_buffer("scale", torch.empty(()))
        self.register_buffer("scale_shift", torch.empty(()))

    def _forward(self, x, context):
        h = torch.tanh(torch.nn.functional.conv2d(x, self.W, self.b, padding=1))
        raw, shift = h.chunk(2, dim=1)
        return torch.stack((self.scale * torch.tanh(raw) + self.scale_shift, shift), dim=1)


def layer(arrays, case, **options):
    made = Coupling(
        arrays[f"{case}_x"].shape[1:],
        univariate=Affine(max_log_scale=None),
        net=Given,
        **options,
    ).double()
    made.net.load_state_dict({key: arrays[f"{case}_{key}"] for key in made.net.state_dict()})
    return made


def expect_golden(made, arrays, case):
    z, logdet = made(arrays[f"{case}_x"])
    torch.testing.assert_close(z, arrays[f"{case}_y"], **EXACT)
    torch.testing.assert_close(logdet, arrays[f"{case}_logdet"], **EXACT)
    back, inverse_logdet = made.inverse(z)
    torch.testing.assert_close(back, arrays[f"{case}_x"], **EXACT)
    torch.testing.assert_close(inverse_logdet, -logdet, **EXACT)


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("top_left", [1, 0])
def test_a_checkerboard_keeps_its_top_left_pixel_or_moves_it(golden, size, top_left):
    arrays, case = golden("coupling"), f"check{size}_tl{top_left}"
    made = layer(arrays, case, split="checkerboard", swap=not top_left)
    assert torch.equal(made.parts.mask.double(), arrays[f"{case}_mask"])
    expect_golden(made, arrays, case)
    numeric = arrays.get(f"{case}_logdet_numeric")
    if numeric is not None:
        found = made(arrays[f"{case}_x"])[1]
        torch.testing.assert_close(found, numeric, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("top", [1, 0])
def test_channels_are_halved(golden, top):
    """Top: the first half is moved, given the second."""
    arrays, case = golden("coupling"), f"chan_top{top}"
    expect_golden(layer(arrays, case, split="halves", swap=bool(top)), arrays, case)
