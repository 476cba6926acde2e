"""Optimizers are those of torch, resume exactly, and treat groups as the spec says."""

import copy

import pytest
import torch

from corekit.build import component
from corekit.checkpoint import read
from corekit.checkpoint.tree import same
from corekit.errors import CheckpointError, SpecError, UsageError
from corekit.spec import run_spec, spec_class
from corekit.train.trainer import Trainer

NAMES = {
    "adam": ({"weight_decay": 0.1}, torch.optim.Adam),
    "adamw": ({"weight_decay": 0.1}, torch.optim.AdamW),
    "adamax": ({"weight_decay": 0.1}, torch.optim.Adamax),
    "sgd": ({"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}, torch.optim.SGD),
}


def stepped(optimizer, parameters, steps=25):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return [p.detach() for p in parameters]


def fresh():
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (4,), ()]
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def optimizer_spec(name, **options):
    return spec_class("optimizer", name).model_validate({"type": name, **options})


@pytest.mark.parametrize("name", sorted(NAMES))
def test_steps_are_those_of_torchs_plain_loop(name):
    """The fused kernels that are used on this device compute what the plain loop computes."""
    options, plain = NAMES[name]
    ours, theirs = fresh(), fresh()
    spec = optimizer_spec(name, lr=0.02, **options)
    found = stepped(component("optimizer", spec)(ours), ours)
    expected = stepped(plain(theirs, lr=0.02, foreach=False, **options), theirs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=1e-6)


def test_adamax_is_its_formula():
    (w,) = parameters = [torch.nn.Parameter(torch.tensor(1.0))]
    optimizer = component("optimizer", optimizer_spec("adamax", lr=0.1))(parameters)
    m = u = 0.0
    theta = 1.0
    for n, g in enumerate([0.5, -2.0, 0.1], start=1):
        w.grad = torch.tensor(g)
        optimizer.step()
        m, u = 0.9 * m + 0.1 * g, max(0.999 * u, abs(g) + 1e-8)
        theta -= 0.1 / (1 - 0.9**n) * m / u
        assert w.item() == pytest.approx(theta, rel=1e-5)


def weights(run):
    folder = sorted((run / "checkpoints").iterdir())[-1]
    return {name: read(folder, name) for name in ("model", "ema", "optimizer")}


GROUPS = [
    {"match": "*.bias", "weight_decay": 0},
    {"match": "prior.*", "freeze": True},
    {"match": "encoder.*", "lr": 1e-4},
]


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("groups", [[], GROUPS], ids=["one group", "groups"])
def test_a_resumed_run_is_the_run_uninterrupted(make_spec, tmp_path, name, groups):
    options = {"optimizer": {"type": name, **NAMES[name][0]}, "groups": groups}
    Trainer(make_spec(steps=8, **options), tmp_path / "a", quiet=True).fit()
    Trainer(make_spec(steps=5, **options), tmp_path / "b", quiet=True).fit()
    Trainer(make_spec(steps=8, **options), tmp_path / "b", resume=True, quiet=True).fit()
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_the_first_group_that_matches_counts_and_the_rest_is_default(make_spec, tmp_path):
    spec = make_spec(groups=GROUPS, optimizer={"type": "adamw", "lr": 0.01, "weight_decay": 0.1})
    trainer = Trainer(spec, tmp_path / "run", quiet=True)
    names = {id(p): n for n, p in trainer.model.named_parameters()}
    groups = trainer.main.optimizer.param_groups
    found = [
        (group["lr"], group["weight_decay"], {names[id(p)] for p in group["params"]})
        for group in groups
    ]
    every = set(names.values())
    biases = {n for n in every if n.endswith(".bias")}
    assert any(n.startswith("prior.") for n in biases)  # which the first group takes
    frozen = {n for n in every - biases if n.startswith("prior.")}
    slow = {n for n in every - biases if n.startswith("encoder.")}
    assert found == [
        (0.01, 0.1, every - biases - frozen - slow),
        (0.01, 0, biases),
        (1e-4, 0.1, slow),
    ]
    assert {n for n, p in trainer.model.named_parameters() if not p.requires_grad} == frozen


def test_frozen_parameters_stay_and_the_schedule_moves_every_group(make_spec, tmp_path):
    trainer = Trainer(make_spec(steps=12, groups=GROUPS), tmp_path / "run", quiet=True)
    before = copy.deepcopy(dict(trainer.model.named_parameters()))
    trainer.fit()
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    frozen = {n for n, p in trainer.model.named_parameters() if not p.requires_grad}
    assert frozen
    assert not moved & frozen
    assert {n.split(".")[0] for n in moved} == {"encoder", "prior", "decoder"}
    base = trainer.main.base_lr[0]  # the last step was 11 of a decay from 5 to 20
    rate = [1e-3 + 6 / 15 * (1e-4 - 1e-3), 1e-4 + 6 / 15 * (1e-4 - 1e-4)]
    assert base == 1e-3
    assert [g["lr"] for g in trainer.main.optimizer.param_groups] == pytest.approx([rate[0], *rate])


def test_a_pattern_that_matches_nothing_names_the_nearest(make_spec, tmp_path):
    groups = [{"match": "*.bias", "lr": 1.0}, {"match": "encoderr.*", "lr": 1e-4}]
    with pytest.raises(UsageError, match=r"groups\[1\].match.*got 'encoderr\.\*'.*'encoder'"):
        Trainer(make_spec(groups=groups), tmp_path / "run", quiet=True)
    with pytest.raises(UsageError, match="got patterns that freeze all"):
        Trainer(make_spec(groups=[{"match": "*", "freeze": True}]), tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"match": "*"}, "must have lr, weight_decay or freeze: true, got none"),
        ({"match": "*", "freeze": True, "lr": 1.0}, "a frozen group must have no options"),
        ({"match": "*", "rate": 1.0}, "unknown key 'rate'"),
    ],
)
def test_a_group_that_says_nothing_or_too_much_is_refused(tree, group, message):
    tree["train"]["groups"] = [group]
    with pytest.raises(SpecError, match=message):
        run_spec(tree)


def test_other_groups_are_another_run(make_spec, tmp_path):
    Trainer(make_spec(steps=1), tmp_path / "run", quiet=True).fit()
    with pytest.raises(CheckpointError, match=r'\+.*"match": "prior'):
        Trainer(make_spec(groups=GROUPS), tmp_path / "run", resume=True, quiet=True)
