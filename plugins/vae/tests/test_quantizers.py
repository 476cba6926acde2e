"""Quantizers on cases that can be counted, and the prior of codes."""

import itertools

import pytest
import torch
from corekit_vae.priors.autoregressive import Autoregressive
from corekit_vae.quantizers.finite_scalar import FiniteScalarQuantizer
from corekit_vae.quantizers.residual import ResidualQuantizer
from corekit_vae.quantizers.usage import usage
from corekit_vae.quantizers.vector import VectorQuantizer, nearest

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Condition


def test_the_nearest_code_is_that_of_all_distances():
    rows, codebook = torch.randn(50, 3), torch.randn(7, 3)
    want = torch.cdist(rows, codebook).argmin(1)
    assert torch.equal(nearest(rows, codebook), want)
    assert torch.equal(nearest(rows, codebook, at_once=8), want)


def test_perplexity_counts_codes():
    assert usage(torch.tensor([5.0, 5, 5, 5]))["perplexity"].item() == pytest.approx(4)
    found = usage(torch.tensor([9.0, 0, 0, 0]))
    assert found["perplexity"].item() == pytest.approx(1)
    assert found["codes_used"].item() == 0.25


def test_codes_start_at_latents_of_data():
    part, z = VectorQuantizer((2, 3), codes=6), torch.randn(8, 2, 3)
    part.initialize(z)
    rows = z.transpose(1, 2).reshape(-1, 2)
    assert (torch.cdist(part.codebook, rows).min(1).values == 0).all()
    assert torch.equal(part.codebook, part.total)
    torch.rand(1)
    again = VectorQuantizer((2, 3), codes=6)
    again.initialize(z)  # in another process, say
    assert torch.equal(again.codebook, part.codebook)
    few = VectorQuantizer((2, 3), codes=40)
    few.initialize(z)
    assert len(few.codebook.unique(dim=0)) == 40


def test_a_code_that_nobody_takes_starts_anew():
    part = VectorQuantizer((2,), codes=3, decay=0.5, restart_below=0.6).train()
    with torch.no_grad():
        part.codebook.copy_(torch.tensor([[0.0, 0.0], [100.0, 100.0], [0.5, 0.0]]))
        part.total.copy_(part.codebook)
    z = 0.3 * torch.randn(20, 2)
    part.observe(*part(z).seen)  # taken: 1 -> 0.5 for the idle code
    assert (torch.cdist(part.codebook[1:2], z).min() == 0).item()
    assert part.taken[1] == 1
    assert set(part(z).codes.flatten().tolist()) == {0, 1, 2}


def test_what_many_processes_saw_is_added():
    z = torch.randn(12, 2)
    one, two = (VectorQuantizer((2,), codes=4, start="uniform") for _ in range(2))
    two.load_state_dict(one.state_dict())
    one.train()
    one.observe(*one(z).seen)
    parts = [two.train()(part).seen for part in z.split(6)]
    two.observe(*(torch.cat(column) for column in zip(*parts, strict=True)))
    for a, b in zip(one.buffers(), two.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_residual_shrinks_with_depth():
    z = torch.randn(200, 3)
    errors = []
    for depth in (1, 2, 4):
        part = ResidualQuantizer((3,), depth=depth, codes=16)
        part.initialize(z)
        found = part(z)
        assert found.codes.shape == (200, depth, 1)
        errors.append((found.z - z).square().mean().item())
    assert errors[0] > errors[1] > errors[2]


def test_every_code_of_a_finite_scalar_quantizer_can_be_reached():
    values = (2, 3, 4, 5)
    part = FiniteScalarQuantizer((4,), values=values)
    grid = torch.linspace(-9, 9, 61).double()
    seen = []
    for i, number in enumerate(values):
        z = torch.zeros(61, 4).double()
        z[:, i] = grid
        steps = part(z).z[:, i]
        assert len(steps.unique()) == number
        assert (steps.diff() >= 0).all()  # a larger latent never gets a lower value
        seen.append(steps.unique() * (number // 2))
    assert [s.round().long().tolist() for s in seen] == [
        [-1, 0],
        [-1, 0, 1],
        [-2, -1, 0, 1],
        [-2, -1, 0, 1, 2],
    ]
    assert part(torch.zeros(1, 4)).z.abs().max() == 0
    codes = torch.arange(part.levels)[:, None]
    vectors = part.vectors(codes)
    assert len(vectors.unique(dim=0)) == 2 * 3 * 4 * 5
    with pytest.raises(ShapeError, match="must have 4 channels, one for each of the values"):
        FiniteScalarQuantizer((3,), values=values)


def autoregressive(**options):
    part = Autoregressive((2, 2), levels=3, width=8, layers=2, heads=2, **options).double()
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return part.eval()


@pytest.mark.parametrize("condition", [None, {"vector": (3,)}])
def test_the_probabilities_of_all_codes_add_up_to_one(condition):
    part = autoregressive(condition=condition)
    every = torch.tensor(list(itertools.product(range(3), repeat=4))).reshape(-1, 2, 2)
    told = None if condition is None else Condition(vector=torch.randn(1, 3).double().expand(81, 3))
    p = part.log_prob(every, told).value.exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    n = 20_000
    told = None if told is None else Condition(vector=told.vector[:1].expand(n, 3))
    drawn = part.sample(n, told, generator=Draws(torch.Generator().manual_seed(0)))
    number = (drawn.flatten(1) * torch.tensor([27, 9, 3, 1])).sum(1)
    share = torch.bincount(number, minlength=81) / n
    error = (p * (1 - p) / n).sqrt()
    assert ((share - p).abs() <= 5 * error + 1e-6).all()


def test_sampling_with_kept_keys_is_sampling_from_whole_passes():
    """At temperature 0, each code is the likeliest given those before it."""
    part = autoregressive()
    drawn = part.sample(1, temperature=0.0)
    codes = drawn.clone().flatten()
    for i in range(4):
        scores = []
        for k in range(3):  # P(first i codes, then k), summed over what may follow
            first = [*codes[:i].tolist(), k]
            rest = itertools.product(range(3), repeat=3 - i)
            every = torch.tensor([[*first, *tail] for tail in rest]).reshape(-1, 2, 2)
            scores.append(part.log_prob(every).value.exp().sum().item())
        assert max(range(3), key=scores.__getitem__) == codes[i].item()


def test_levels_must_be_known_and_codes_among_them():
    with pytest.raises(UsageError, match="levels must be known, got none"):
        Autoregressive((2, 2), width=8, heads=2).sample(1)
    with pytest.raises(UsageError, match="codes must lie in 0 to 2, got 0 to 3"):
        autoregressive().log_prob(torch.tensor([[[0, 1], [2, 3]]]))
    with pytest.raises(UsageError, match="heads must divide the width 8, got 3"):
        Autoregressive((2,), width=8, heads=3)
