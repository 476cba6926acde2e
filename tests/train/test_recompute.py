"""Activations that are computed again: the same gradients, fewer tensors kept."""

import pytest
import torch
from learning_parts import offered
from run_specs import small
from torch import nn

from corekit.build import build, component
from corekit.checkpoint import read
from corekit.checkpoint.tree import same
from corekit.flows.compose import Chain
from corekit.flows.linear import Linear
from corekit.interfaces.draws import Draws, GivenDraws, RowDraws
from corekit.interfaces.records import Batch, NoiseLevel
from corekit.nn.recompute import recompute_activations, recomputed
from corekit.spec import run_spec, spec_class
from corekit.train.trainer import Trainer


@pytest.fixture(autouse=True)
def parts():
    """Specs may name the toys."""
    with offered():
        yield


def kept_and_gradients(model, step):
    """Numbers that autograd keeps, and the gradients of `step(model)`."""
    numbers = []

    def keep(tensor):
        numbers.append(tensor.numel())
        return tensor

    model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = step(model)
    loss.backward()
    return sum(numbers), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def loss_of(model):
    torch.manual_seed(1)
    shape = model.data.event_shape
    batch = Batch(torch.randn(8, *shape))
    return model(batch, draws=torch.Generator().manual_seed(2)).total.mean()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("model", ["flow", "latent", "diffusion"])
def test_gradients_are_the_same_bit_for_bit_and_less_is_kept(model, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # the pointwise network has a way of its own for one core
    try:
        whole, again = build(small(model)).train(), build(small(model)).train()
        again.load_state_dict(whole.state_dict())
        assert recompute_activations(again)
        kept, expected = kept_and_gradients(whole, loss_of)
        fewer, found = kept_and_gradients(again, loss_of)
    finally:
        torch.set_num_threads(before)
    assert len(found) == len(expected) > 2
    for gradient, other in zip(found, expected, strict=True):
        assert torch.equal(gradient, other)
    assert fewer < 0.75 * kept
    assert same(dict(again.state_dict()), dict(whole.state_dict()))  # statistics moved once


def test_a_deeper_chain_keeps_no_more_than_the_inputs_of_its_members():
    chain = Chain((3,), of=[Linear] * 12).train()
    x = torch.randn(5, 3)
    recompute_activations(chain)
    kept, _ = kept_and_gradients(chain, lambda chain: chain(x)[0].sum())
    assert kept == 12 * x.numel()


class Noisy(nn.Module):
    """A part that draws, drops, and moves a statistic."""

    recompute = False

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("mask", torch.tensor([1.0, 0.0, 1.0]))

    def forward(self, x, draws):
        return recomputed(self, self._noisy, x, draws)

    def _noisy(self, x, draws):
        x = self.norm(self.linear(x)) * self.mask
        x = nn.functional.dropout(x, 0.5) + draws.normal("a", tuple(x.shape), x)
        return (x * draws.uniform("b", tuple(x.shape), x)).exp()


def sources():
    numbers = torch.arange(12.0).reshape(4, 3) / 12
    return [
        Draws(torch.Generator().manual_seed(3)),
        Draws(),
        RowDraws(3, range(4)),
        GivenDraws({"a": [numbers, 1 - numbers], "b": [1 - numbers, numbers]}),
    ]


@pytest.mark.parametrize("which", range(4))
def test_noise_dropout_and_statistics_are_those_of_the_first_time(which):
    x = torch.randn(4, 3)

    def step(part):
        torch.manual_seed(5)
        draws = sources()[which]
        loss = part(x, draws).sum() + part(x, draws).square().sum()
        loss.backward()
        given = isinstance(draws, GivenDraws)
        after = torch.rand(2) if given else draws.normal("after", (4,), x)  # the stream goes on
        return [p.grad for p in part.parameters()], [*part.buffers()], after

    plain, again = Noisy(), Noisy()
    again.load_state_dict(plain.state_dict())
    again.recompute = True
    assert all(map(same, step(plain), step(again)))


def test_nothing_is_recomputed_in_evaluation():
    chain = Chain((3,), of=[Linear] * 2)
    recompute_activations(chain)
    calls = []
    chain[0].register_forward_pre_hook(lambda *_: calls.append(1))
    x = torch.randn(5, 3, requires_grad=True)
    for mode, expected in ((False, 1), (True, 2)):
        calls.clear()
        chain.train(mode)(x)[0].sum().backward()
        assert len(calls) == expected


@pytest.mark.filterwarnings("ignore:.*couple the rows")
def test_a_run_that_recomputes_is_the_run_that_keeps(tmp_path):
    for name, flag in (("keeps", False), ("again", True)):
        spec = small("latent", activation_checkpointing=flag, accumulate=2, batch_size=8)
        Trainer(spec, tmp_path / name, quiet=True).fit()
    runs = [tmp_path / name / "checkpoints" / "step-0000010" for name in ("keeps", "again")]
    for tree in ("model", "ema", "optimizer"):
        assert same(read(runs[0], tree), read(runs[1], tree)), tree


def test_a_model_without_depth_is_told(tmp_path):
    tree = small("flow", activation_checkpointing=True).model_dump()
    tree["model"]["bijector"] = "linear"
    with pytest.warns(UserWarning, match="FlowModel has no part that can recompute"):
        Trainer(run_spec(tree), tmp_path / "run", quiet=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*_prims_common:FutureWarning")  # of torch, about itself
def test_compiled_chains_recompute():
    torch._dynamo.reset()
    whole, again = (Chain((3,), of=[Linear] * 3).train() for _ in range(2))
    again.load_state_dict(whole.state_dict())
    recompute_activations(again)
    x = torch.randn(5, 3)
    _, expected = kept_and_gradients(torch.compile(whole), lambda f: f(x)[0].square().sum())
    _, found = kept_and_gradients(torch.compile(again), lambda f: f(x)[0].square().sum())
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_pointwise_network_is_the_same_in_segments_and_in_tiles(recompute):
    """Six layers: two segments on many cores, one cloud after the other on one."""
    tree = {**small("diffusion").model_dump()["model"]["denoiser"], "hidden": [8, 7, 6, 5, 4]}
    spec = spec_class("denoiser", tree["type"]).model_validate(tree)
    shapes = {"event_shape": (16, 3), "condition_shapes": {}, "out_channels": None}
    net = component("denoiser", spec, **shapes).train()
    net.recompute = recompute
    x_t, time = torch.randn(3, 16, 3), torch.rand(3)
    level = NoiseLevel(time, time, time)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            kept, gradients = kept_and_gradients(net, lambda net: net(x_t, level).square().sum())
            found.append((gradients, kept))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0][0], found[1][0])
    assert all((kept < 3000) is recompute for _, kept in found)
