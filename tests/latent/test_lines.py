"""Lines between latents: in z, in the noise that a flow makes z of, and around the origin."""

import pytest
import torch

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.errors import UsageError
from corekit.flows.compose import Chain
from corekit.flows.linear import Linear
from corekit.flows.pointwise import LeakyRelu
from corekit.flows.prior import FlowPrior, StandardNormal
from corekit.interfaces.records import Condition
from corekit.latent.lines import latents_between
from corekit.nn.lines import great_circle
from corekit.spec import run_spec


def bent(event_shape, context_shape=None):
    return LeakyRelu(event_shape, slope=0.1)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def prior():
    """A flow that bends lines."""
    torch.manual_seed(0)
    found = FlowPrior((4,), bijector=lambda **g: Chain(**g, of=[Linear, bent, Linear])).double()
    for parameter in found.parameters():
        torch.nn.init.orthogonal_(parameter) if parameter.ndim > 1 else torch.nn.init.zeros_(
            parameter
        )
    return found


def test_a_line_of_the_base_is_straight_there_and_ends_where_it_should(prior):
    start, end = prior.from_base(normal(3, 4)), prior.from_base(normal(3, 4, seed=1))
    z = latents_between(start, end, 5, "base", prior)
    assert z.shape == (3, 5, 4)
    torch.testing.assert_close(z[:, 0], start)
    torch.testing.assert_close(z[:, -1], end)
    w = prior.to_base(z.flatten(0, 1)).reshape(3, 5, 4)
    torch.testing.assert_close(
        w, torch.stack([torch.lerp(w[:, 0], w[:, -1], k / 4) for k in range(5)], 1)
    )
    straight = latents_between(start, end, 5, "latent", prior)
    torch.testing.assert_close(straight[:, 2], (start + end) / 2)
    assert not torch.allclose(straight[:, 2], z[:, 2], rtol=1e-2)


def test_an_arc_keeps_its_length_and_is_walked_evenly(prior):
    a, b = normal(3, 4), normal(3, 4, seed=1)
    b = b / b.norm(dim=1, keepdim=True) * a.norm(dim=1, keepdim=True)
    z = latents_between(prior.from_base(a), prior.from_base(b), 6, "sphere", prior)
    w = prior.to_base(z.flatten(0, 1)).reshape(3, 6, 4)
    torch.testing.assert_close(w.norm(dim=2), a.norm(dim=1, keepdim=True).expand(3, 6))
    steps = (w[:, 1:] - w[:, :-1]).norm(dim=2)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))
    own = latents_between(a, b, 6, "sphere", StandardNormal((4,)))
    torch.testing.assert_close(own, w)
    assert torch.equal(great_circle(a, a, torch.tensor(0.3)), a)


def test_a_prior_that_makes_latents_of_no_noise_is_refused():
    with pytest.raises(UsageError, match="must have a prior that is a flow, got NoneType"):
        latents_between(normal(1, 2), normal(1, 2), 3, "base")


def test_a_model_walks_along_the_base_under_its_condition():
    model = build(
        run_spec(
            {
                "version": 1,
                "model": {
                    "type": "latent",
                    "encoder": {"type": "pointcloud.pointnet", "latent_dim": 4, "widths": [8]},
                    "prior": {"type": "flow", "bijector": "realnvp.affine_coupling"},
                    "decoder": "gaussian",
                    "conditional": ["prior"],
                    "classes": 2,
                },
                "data": {"type": "toy2d"},
            }
        ),
        data=DataSpec((6, 3), condition_shapes={"labels": ()}),
    )
    model = model.eval().double()
    for parameter in model.prior.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, y, labels = normal(2, 6, 3), normal(2, 6, 3, seed=1), Condition(labels=torch.tensor([0, 1]))
    given = model.for_prior(model.given_of(labels))
    z = latents_between(model.encode(x), model.encode(y), 3, "base", model.prior, given)

    def walk(along):
        return model.interpolate(
            x, y, 3, labels, along=along, generator=torch.Generator().manual_seed(0)
        )

    noise = torch.Generator().manual_seed(0)
    wanted = model.decode(z.flatten(0, 1), generator=noise).reshape(2, 3, 6, 3)
    torch.testing.assert_close(walk("base"), wanted)
    assert not torch.allclose(walk("latent")[:, 1], wanted[:, 1])
