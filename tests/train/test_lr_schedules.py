"""Learning rates are their formulas at every step, and torch's where torch has them."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from corekit.build import component
from corekit.errors import SpecError
from corekit.spec import run_spec, spec_class
from corekit.train import lr_schedules
from corekit.train.trainer import Trainer

STEPS = range(60)


def rates(name, base=0.3, **options):
    """The rate of each step, through the spec as a run does it."""
    spec = spec_class("lr_schedule", name).model_validate({"type": name, **options})
    return [component("lr_schedule", spec)(step, base) for step in STEPS]


def torch_rates(make, base=0.3):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=base)
    scheduler = make(optimizer)
    found = []
    for _ in STEPS:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def ramp(step, steps):
    return min(1, (step + 1) / steps)


CLOSED_FORMS = {
    "constant": ({"warmup_steps": 7}, lambda s: 0.3 * ramp(s, 7)),
    "linear": (
        {"end": 40, "end_lr": 0.02, "warmup_steps": 10},
        lambda s: 0.3 * ramp(s, 10) if s < 10 else 0.3 - 0.28 * min(s - 10, 30) / 30,
    ),
    "cosine": (
        {"end": 40, "end_lr": 0.02, "warmup_steps": 10},
        lambda s: (
            0.3 * ramp(s, 10)
            if s < 10
            else 0.02 + 0.14 * (1 + math.cos(math.pi * min(s - 10, 30) / 30))
        ),
    ),
    "linear_decay": (
        {"start": 20, "end": 40, "end_lr": 0.02, "warmup_steps": 5},
        lambda s: 0.3 * ramp(s, 5) if s <= 20 else max(0.02, 0.3 - 0.014 * (s - 20)),
    ),
    "noam": (
        {"warmup_steps": 8, "features": 64},
        lambda s: 0.3 / 8 * min(1 / math.sqrt(s + 1), (s + 1) / 8**1.5),
    ),
    "step": (
        {"every": 9, "factor": 0.5, "warmup_steps": 4},
        lambda s: 0.3 * ramp(s, 4) / 2 ** (s // 9),
    ),
}


@pytest.mark.parametrize("name", sorted(CLOSED_FORMS))
def test_every_step_is_the_closed_form(name):
    options, formula = CLOSED_FORMS[name]
    assert rates(name, **options) == pytest.approx([formula(s) for s in STEPS], rel=1e-12)


TORCH = {
    "cosine": ({"end": 59, "end_lr": 0.01}, lambda o: lr_scheduler.CosineAnnealingLR(o, 59, 0.01)),
    "linear": ({"end": 50, "end_lr": 0.03}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, 50)),
    "step": ({"every": 9, "factor": 0.5}, lambda o: lr_scheduler.StepLR(o, 9, 0.5)),
    "constant": (
        {"warmup_steps": 20},
        lambda o: lr_scheduler.LinearLR(o, 1 / 20, 1.0, 19),  # torch counts the steps between
    ),
}


@pytest.mark.parametrize("name", sorted(TORCH))
def test_every_step_is_that_of_torch(name):
    options, make = TORCH[name]
    assert rates(name, **options) == pytest.approx(torch_rates(make), rel=1e-10)


def test_without_a_width_the_largest_rate_of_noam_is_that_of_the_optimizer():
    found = rates("noam", base=0.3, warmup_steps=8)
    assert max(found) == pytest.approx(0.3)
    assert found.index(max(found)) == 7


def test_warm_up_hands_over_without_a_jump():
    for name in ("linear", "cosine", "constant"):
        options = {} if name == "constant" else {"end": 50}
        found = rates(name, base=1.0, warmup_steps=10, **options)
        assert found[9] == pytest.approx(1)  # the last step of the warm-up
        assert found[10] == pytest.approx(1)  # the first of the decay


def test_a_decay_must_end_after_its_warm_up(tree):
    tree["train"]["lr_schedule"] = {"type": "cosine", "end": 10, "warmup_steps": 10}
    with pytest.raises(SpecError, match="end must be greater than warmup_steps = 10, got 10"):
        run_spec(tree)


@pytest.mark.parametrize("name", sorted(CLOSED_FORMS))
def test_a_resumed_run_goes_on_with_the_same_rates(make_spec, tmp_path, name):
    schedule = {"type": name, **CLOSED_FORMS[name][0]}
    options = {"lr_schedule": schedule, "optimizer": {"type": "sgd", "lr": 0.3}, "log_every": 1}

    def logged(run, *steps):
        for number in steps:
            Trainer(make_spec(steps=number, **options), run, resume=run.exists(), quiet=True).fit()
        records = (run / "metrics.jsonl").read_text().splitlines()
        return [float(line.split('"lr": ')[1].split(",")[0].split("}")[0]) for line in records]

    formula = CLOSED_FORMS[name][1]
    assert logged(tmp_path / "run", 2, 4) == pytest.approx([formula(s) for s in range(4)])


def test_the_names_of_the_spec_are_the_functions_here():
    assert {*CLOSED_FORMS} <= set(vars(lr_schedules))
