"""PixelCNN and the autoregressive mixture flows made with it."""

import math
from functools import partial

import pytest
import torch
from corekit_realnvp.autoregressive import Autoregressive
from corekit_realnvp.made import Made
from corekit_realnvp.mixture import MixtureCdf
from corekit_realnvp.pixel_masks import kernel_mask
from corekit_realnvp.pixelcnn import PixelCnn
from corekit_realnvp.splines import RationalQuadratic
from torch.utils.flop_counter import FlopCounterMode

from corekit.build import build
from corekit.errors import ShapeError, UsageError
from corekit.flows.bases import Logistic, Uniform
from corekit.flows.prior import FlowPrior, StandardNormal
from corekit.interfaces.draws import Draws, RowDraws
from corekit.interfaces.network import Network
from corekit.testing import parametrize_checks

EXACT = {"rtol": 1e-10, "atol": 1e-12}
BASES = {"uniform": Uniform, "logit": Logistic, "probit": StandardNormal}


@parametrize_checks("network", "realnvp.pixelcnn")
def test_promises(check):
    check()


def small(**options):
    return partial(PixelCnn, **{"filters": 6, "layers": 2, "kernel": 3, **options})


def random(layer, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return layer.double()


@pytest.mark.parametrize("kind", ["A", "B"])
def test_masks_are_the_golden_ones(golden, kind):
    arrays = golden("masks")
    for size in (3, 5, 7):
        found = torch.tensor(kernel_mask([0], [0], size, kind))[0, 0]
        assert found.tolist() == arrays[f"pixelcnn_{kind}{size}"].bool().tolist()
    rgb = torch.tensor(kernel_mask([0, 1, 2], [0, 0, 1, 1, 2, 2], 3, kind))
    assert rgb.tolist() == arrays[f"pixelcnn_rgb_{kind}3_in3_out6"].bool().tolist()


def given(net, arrays):
    """Put the golden weights into a network of one layer."""
    convs = (net.first, net.bodies[0][0], net.hidden, net.last)
    with torch.no_grad():
        for i, conv in enumerate(convs):
            conv.weight.copy_(arrays[f"p.c{i}.W"])
            conv.bias.copy_(arrays[f"p.c{i}.b"])
        net.norms[0].weight.copy_(arrays["p.ln.g"])
        net.norms[0].bias.copy_(arrays["p.ln.b"])


@pytest.mark.parametrize("latent", list(BASES))
def test_a_whole_flow_has_the_golden_likelihood(golden, latent):
    arrays = golden("arflow_pixelcnn")
    flow = FlowPrior(
        (1, 5, 5),
        bijector=partial(
            Autoregressive,
            univariate=MixtureCdf(3, "normal", latent, spread=0.0),
            net=partial(PixelCnn, filters=6, layers=1),
        ),
        base=BASES[latent],
    ).double()
    net = flow.bijector.net
    given(net, arrays)
    x = arrays["x"]
    torch.testing.assert_close(net(x)[:, :, 0], arrays["params"], **EXACT)
    log_prob = flow.log_prob(x).value
    torch.testing.assert_close(log_prob, arrays["log_prob"], **EXACT)
    per_dim = -log_prob / 25 + math.log(2)  # one bit: bins half as wide as x
    torch.testing.assert_close(per_dim, arrays["nats_per_dim_dequantised"], **EXACT)
    torch.testing.assert_close(per_dim / math.log(2), arrays["bits_per_dim"], **EXACT)
    z, _ = flow.bijector(x)
    if latent == "uniform":
        torch.testing.assert_close(z[:, 0], arrays["z"], **EXACT)
    with torch.no_grad():
        torch.testing.assert_close(flow.bijector.inverse(z)[0], x, rtol=1e-7, atol=1e-7)


class TwoFeatures(Network):
    """The golden network of two features: a constant, and a perceptron of the first feature."""

    autoregressive, rounds = True, 2

    def __init__(self, arrays, in_shape, out_shape, context_shape):
        super().__init__(in_shape, out_shape, None)
        self.arrays = arrays
        self.register_buffer("rank", torch.arange(2))

    def _forward(self, x, context):
        a = self.arrays
        first = torch.cat((a["loc"], a["log_scale"], a["logits"])).expand(len(x), 15)
        h = x[:, :1]
        for i in range(3):
            h = h @ a[f"W{i}"].T + a[f"b{i}"]
            h = h if i == 2 else torch.relu(h)
        return torch.stack((first, h), dim=2)


@pytest.mark.parametrize("latent", list(BASES))
@pytest.mark.parametrize(("name", "family"), [("gaussian", "normal"), ("logistic", "logistic")])
def test_two_features_have_the_golden_likelihood(golden, name, family, latent):
    arrays = golden(f"arflow2d_{name}")
    flow = FlowPrior(
        (2,),
        bijector=partial(
            Autoregressive,
            univariate=MixtureCdf(5, family, latent, spread=0.0),
            net=partial(TwoFeatures, arrays),
        ),
        base=BASES[latent],
    )
    x = arrays["x"]
    torch.testing.assert_close(flow.log_prob(x).value, arrays["log_prob"], **EXACT)
    alone = flow.log_prob(x[:1]).value  # the original loses the axis of the batch at one row
    torch.testing.assert_close(alone, arrays["log_prob"][:1], **EXACT)
    if latent == "uniform":
        z, _ = flow.bijector(x)
        torch.testing.assert_close(z, arrays["z"], **EXACT)
        params = flow.bijector.net(x)
        per_dim = flow.bijector.univariate.forward(x, params)[1]
        torch.testing.assert_close(per_dim, arrays["logdet_per_dim"], **EXACT)


def test_green_may_depend_on_the_red_of_its_pixel():
    """The original has all channels of a pixel independent, though it samples one by one."""
    x = torch.randn(1, 3, 3, 3, dtype=torch.float64)
    moved = x.clone()
    moved[0, 0, 1, 1] += 1  # red of the middle
    for channels, sees in (("ordered", [False, True, True]), ("independent", [False] * 3)):
        make = small(channels=channels, filters=18)
        net = random(make(in_shape=(3, 3, 3), out_shape=(1, 3, 3, 3)))
        change = (net(x) - net(moved)).abs()[0, 0, :, 1, 1] > 0
        assert change.tolist() == sees


@pytest.mark.parametrize("options", [{}, {"residual": True}, {"channels": "independent"}])
@pytest.mark.parametrize("context_shape", [None, (3,)])
def test_pixel_by_pixel_is_the_same_as_pass_by_pass(options, context_shape):
    shape = (3, 4, 3)
    layer = random(
        Autoregressive(
            shape, context_shape, univariate=RationalQuadratic(4), net=small(filters=8, **options)
        )
    )
    z = torch.randn(4, *shape, dtype=torch.float64)
    context = None if context_shape is None else torch.randn(4, 3, dtype=torch.float64)
    slow, slow_logdet = layer.inverse(z, context)
    assert slow.requires_grad
    with torch.no_grad():
        fast, fast_logdet = layer.inverse(z, context)
    torch.testing.assert_close(fast, slow.detach(), **EXACT)
    torch.testing.assert_close(fast_logdet, slow_logdet.detach(), **EXACT)
    torch.testing.assert_close(layer(fast, context)[0], z, rtol=1e-8, atol=1e-8)


def test_all_pixels_together_cost_about_one_pass():
    """Multiplications of the convolutions, counted, against those of one pass over the image."""
    net = small(filters=8)(in_shape=(2, 6, 6), out_shape=(4, 2, 6, 6))
    counted = []
    plain = torch.addmm

    def addmm(bias, window, weight):
        counted.append(weight.numel())
        return plain(bias, window, weight)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "addmm", addmm)
        net.sequential(lambda i, params: params[0], torch.zeros(1, 2, 6, 6), None)
    one_pass = 36 * sum(m.weight.numel() for m in net.modules() if isinstance(m, type(net.first)))
    assert sum(counted) < one_pass


def mixture_flow(latent, family, net):
    flow = FlowPrior(
        (4,) if net is Made else (2, 2, 1),
        bijector=partial(
            Autoregressive,
            univariate=MixtureCdf(3, family, latent),
            net=partial(Made, hidden=(16,)) if net is Made else small(filters=8, layers=1),
        ),
        base=BASES[latent],
    )
    return random(flow, seed=2)


@pytest.mark.parametrize("latent", list(BASES))
@pytest.mark.parametrize("family", ["normal", "logistic"])
@pytest.mark.parametrize("net", [Made, PixelCnn])
def test_components_then_numbers_are_the_same_distribution(latent, family, net):
    """Their latents are what the base is: seen by the means of four functions, 5 errors wide."""
    flow = mixture_flow(latent, family, net)
    x = flow.sample(4000, generator=torch.Generator().manual_seed(0), components=True)
    with torch.no_grad():
        u = CDF[latent](flow.bijector(x)[0].flatten(1))
    for i in range(4):
        for j in range(i, 4):
            product = (u[:, i] - 0.5) * (u[:, j] - 0.5)
            want = 1 / 12 if i == j else 0.0
            error = product.std() / math.sqrt(len(u))
            assert abs(product.mean() - want) < 5 * error
        assert abs(u[:, i].mean() - 0.5) < 5 / math.sqrt(12 * len(u))


CDF = {"uniform": lambda z: z, "logit": torch.sigmoid, "probit": torch.special.ndtr}


def test_rows_of_components_belong_to_their_numbers():
    flow = mixture_flow("logit", "normal", PixelCnn)
    whole = flow.sample(4, generator=RowDraws(0, range(4)), components=True)
    part = flow.sample(2, generator=RowDraws(0, [1, 2]), components=True)
    torch.testing.assert_close(whole[1:3], part)


def test_components_are_refused_where_there_are_none():
    layer = Autoregressive((3,))
    with pytest.raises(UsageError, match="components need a mixture"):
        layer.ancestral(torch.zeros(2, 3), None, Draws())
    mixtures = partial(FlowPrior, (3,), bijector=partial(Autoregressive, univariate=MixtureCdf(2)))
    flow = mixtures()
    with pytest.raises(UsageError, match="base must be Logistic, got StandardNormal"):
        flow.sample(2, components=True)
    with pytest.raises(UsageError, match="base must be Logistic, got StandardNormal"):
        mixtures(sample_by="components")
    with pytest.raises(UsageError, match=r"truncate must not be given .*got 1\.5"):
        mixture_flow("logit", "normal", Made).sample(2, components=True, truncate=1.5)


def test_a_spec_says_that_samples_are_drawn_by_components():
    """As with components=True, which overrules it."""
    made = {
        how: build(
            {
                "version": 1,
                "model": {
                    "type": "flow",
                    "bijector": {
                        "type": "realnvp.autoregressive",
                        "univariate": {"type": "realnvp.mixture_cdf", "components": 3},
                    },
                    "base": "logistic",
                    "sample_by": how,
                },
                "data": {"type": "toy2d", "density": "moons"},
            }
        )
        for how in ("inversion", "components")
    }
    made["components"].load_state_dict(made["inversion"].state_dict())

    def sample(how, **options):
        return made[how].sample(5, generator=torch.Generator().manual_seed(0), **options)

    assert torch.equal(sample("components"), sample("inversion", components=True))
    assert torch.equal(sample("components", components=False), sample("inversion"))
    assert not torch.equal(sample("components"), sample("inversion"))


def test_sampling_takes_a_fraction_of_a_pass_per_pixel():
    """10 x 10 pixels, 5 layers of 32 filters: a twentieth of the operations of pass by pass."""
    net = partial(PixelCnn, filters=32)
    layer = random(Autoregressive((1, 10, 10), univariate=RationalQuadratic(4), net=net)).float()
    z, operations = torch.randn(2, 1, 10, 10), []
    for fast in (True, False):
        with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(PixelCnn, "incremental", fast)
            with FlopCounterMode(display=False) as counter:
                layer.inverse(z)
        operations.append(counter.get_total_flops())
    assert 20 * operations[0] < operations[1]


def test_bad_arguments_are_refused():
    with pytest.raises(ShapeError, match=r"out_shape must be .P, channels, height, width."):
        PixelCnn((1, 4, 4), (2, 4, 4))
    with pytest.raises(UsageError, match="kernel must be odd"):
        PixelCnn((1, 4, 4), (2, 1, 4, 4), kernel=4)
    with pytest.raises(UsageError, match="filters must be at least 6, 2 for each channel"):
        PixelCnn((3, 4, 4), (2, 3, 4, 4), filters=5)
