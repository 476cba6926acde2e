"""A model with several phases: each moves parameters of its own, and they share a step."""

import json
import math
from itertools import islice
from pathlib import Path

import pytest
import torch
from gradients_of_phases import gradients
from learning_parts import offered
from ranks import launch
from run_specs import small

from corekit.build import build
from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.data.loading import Loader
from corekit.errors import CheckpointError, DivergedError, PluginError, UsageError
from corekit.interfaces.draws import Draws, seed_of
from corekit.spec import dump_yaml, run_spec
from corekit.train.ema import Ema
from corekit.train.meter import Meter
from corekit.train.phases import phases_of
from corekit.train.trainer import Trainer

TOYS = Path(__file__).parent.parent / "toys"
SGD = {"optimizer": {"type": "sgd", "lr": 0.1}, "lr_schedule": {"type": "linear", "end": 20}}


@pytest.fixture(autouse=True)
def toys():
    with offered():
        yield


def batches(trainer, start=0):
    split = trainer.dataset.split("train")
    return iter(Loader(split, 6, seed=seed_of(0, "data"), start_step=start))


def split(state):
    """Tensors of the generator and of the critic."""
    copies = {name: value.clone() for name, value in state.items()}
    return [{k: v for k, v in copies.items() if k.startswith(p)} for p in ("generator.", "critic.")]


def test_two_steps_equal_plain_torch(tmp_path):
    """In turn: noise and dropout, clipping, optimizer and schedule of each; one average of all."""
    spec = small("gan", phases={"critic": SGD}, grad_clip=0.05)
    trainer = Trainer(spec, tmp_path, quiet=True)
    torch.manual_seed(seed_of(0, "weights"))
    model = build(spec).train()
    ema = Ema(model, 0.9)
    parts = {"critic": model.critic, "main": model.generator}
    optimizers = {
        "critic": torch.optim.SGD(model.critic.parameters(), 0.1),
        "main": torch.optim.Adam(model.generator.parameters(), 1e-3),
    }
    for step, batch in enumerate(islice(batches(trainer), 2)):
        trainer._step(batch)
        optimizers["critic"].param_groups[0]["lr"] = 0.1 * (1 - step / 20)
        for phase, part in parts.items():
            key = () if phase == "main" else (phase,)
            torch.manual_seed(seed_of(0, step, "dropout", *key, 0))
            noise = torch.Generator().manual_seed(seed_of(0, step, "noise", *key, 0))
            model.zero_grad()
            model(batch, phase=phase, draws=Draws(noise)).total.mean().backward()
            assert torch.nn.utils.clip_grad_norm_(part.parameters(), 0.05) > 0.05
            optimizers[phase].step()
        ema.update()
    for mine, plain in ((trainer.model, model), (trainer.ema, ema)):
        for name, value in plain.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def test_in_a_phase_the_parameters_of_the_others_get_no_gradient(tmp_path):
    found = gradients(tmp_path, accumulate=3)
    assert [*found] == ["critic", "main"]
    assert {name.split(".")[0] for name in found["critic"]} == {"critic"}
    assert {name.split(".")[0] for name in found["main"]} == {"generator"}
    trainer = Trainer(small("gan"), tmp_path / "asks", quiet=True)
    asked = []
    for phase in trainer.phases:
        plain = phase.module
        phase.module = lambda *args, plain=plain, **kwargs: (
            asked.append({n for n, p in trainer.model.named_parameters() if p.requires_grad})
            or plain(*args, **kwargs)
        )
    trainer._step(next(batches(trainer)))
    assert [{name.split(".")[0] for name in names} for names in asked] == [
        {"critic"},
        {"generator"},
    ]
    assert all(p.requires_grad and p.grad is None for p in trainer.model.parameters())


def test_a_phase_that_comes_every_third_step_rests_in_between(tmp_path):
    spec = small("gan", steps=7, log_every=7, ema=None, phases={"main": {"every": 3}})
    trainer = Trainer(spec, tmp_path, quiet=True)
    take, moved = trainer._step, []

    def watched(batch):
        before = split(trainer.model.state_dict())
        values = take(batch)
        after = split(trainer.model.state_dict())
        moved.append(tuple(not same(a, b) for a, b in zip(before, after, strict=True)))
        assert ("loss" in values) == moved[-1][0]
        return values

    trainer._step = watched
    trainer.fit()
    assert moved == [(True, True), (False, True), (False, True)] * 2 + [(True, True)]


def test_averages_move_once_in_a_step_of_two_phases(tmp_path):
    trainer = Trainer(small("gan", steps=5), tmp_path, quiet=True)
    trainer.fit()
    assert trainer.ema.steps == 5


def test_the_log_names_the_phase_of_a_figure(tmp_path):
    trainer = Trainer(small("gan", phases={"critic": SGD}), tmp_path, quiet=True)
    trainer.fit()
    first = next(iter(trainer.run.records()))
    shown = {"loss", "fooling", "grad_norm", "critic/loss", "critic/real", "critic/grad_norm"}
    assert shown <= first.keys()
    assert first["critic/loss"] == pytest.approx(first["critic/real"] + first["critic/fake"])
    assert first["lr"] == 1e-3
    assert first["critic/lr"] == pytest.approx(0.1 * (1 - 3 / 20))  # of step 4
    assert first["units"]["critic/fake"] == first["units"]["fooling"] == "score^2"


def test_a_mean_is_over_the_steps_that_have_the_figure():
    meter = Meter(skipping=True)
    one = torch.tensor(1.0)
    for step in range(1500):
        main = {"loss": one * step, "grad_norm": one} if step % 3 == 0 else {}
        norm = one * (math.nan if step in (600, 1300) else 1)
        meter.add({**main, "critic/loss": one * step, "critic/grad_norm": norm})
    found = meter.read()
    main = [s for s in range(0, 1500, 3) if s != 600]
    critic = [s for s in range(1500) if s not in (600, 1300)]
    assert found["loss"] == pytest.approx(sum(main) / len(main))
    assert found["critic/loss"] == pytest.approx(sum(critic) / len(critic))
    assert meter.skipped == 2
    assert meter.last_skipped["critic/loss"] == 1300
    assert meter.bad is None


def test_the_first_step_that_is_not_finite_is_found_among_steps_with_other_names():
    meter = Meter()
    one = torch.tensor(1.0)
    for step in range(10):
        main = {"loss": one * (math.nan if step == 6 else 1)} if step % 3 == 0 else {}
        meter.add({**main, "critic/loss": one * (math.inf if step in (5, 8) else 1)})
    meter.read()
    assert meter.bad.ago == 4
    assert meter.bad.values == {"critic/loss": math.inf}


def test_a_phase_that_the_model_lacks_is_refused_with_its_names(tmp_path, capsys):
    with pytest.raises(UsageError, match=r"got 'critc'\. Gan has: critic, main\."):
        Trainer(small("gan", phases={"critc": {}}), tmp_path, quiet=True)
    with pytest.raises(UsageError, match=r"got 'critic'\. FlowModel has: main\."):
        Trainer(small("flow", phases={"critic": {}}), tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("phases", ("critic", "generator"), "phases must be different names with 'main' among"),
        ("phases", ("main", "main"), r"got \('main', 'main'\)"),
        ("phases", ("main", "a/b"), "phases must be different names"),
        ("phases", ("main",), r"phase_of must give one of main, got 'critic' for 'critic\.0\.w"),
        ("phases", ("critic", "idle", "main"), "every phase must have parameters, got none for 'i"),
    ],
)
def test_phases_that_break_the_interface_are_a_bug_of_the_model(attribute, value, words):
    spec = small("gan")
    model = build(spec)
    setattr(model, attribute, value)
    with pytest.raises(PluginError, match=words):
        phases_of(model, spec.train)


def test_groups_give_options_within_a_phase_and_a_frozen_phase_is_left_out(tmp_path):
    groups = [{"match": "*.bias", "lr": 1e-5}, {"match": "critic.*", "freeze": True}]
    trainer = Trainer(small("gan", groups=groups[:1]), tmp_path / "a", quiet=True)
    rates = {p.name: [g["lr"] for g in p.optimizer.param_groups] for p in trainer.phases}
    assert rates == {"critic": [1e-3, 1e-5], "main": [1e-3, 1e-5]}
    frozen = Trainer(small("gan", groups=groups[::-1]), tmp_path / "b", quiet=True)
    critic = split(frozen.model.state_dict())[1]
    frozen.fit()
    assert [phase.name for phase in frozen.phases] == ["main"]
    assert same(split(frozen.model.state_dict())[1], critic)
    with pytest.raises(UsageError, match="a parameter of the phase 'main' must be left to train"):
        Trainer(
            small("gan", groups=[{"match": "gen*", "freeze": True}]), tmp_path / "c", quiet=True
        )


def poisoned(trainer, steps):
    """The critic's loss is not finite in these steps."""
    critic = trainer.phases[0]
    plain = critic.module

    def module(part, draws):
        terms = plain(part, draws=draws)
        return terms._replace(total=terms.total * math.nan) if trainer.step in steps else terms

    critic.module = module


def test_a_skip_leaves_out_one_phase_of_a_step(tmp_path):
    trainer = Trainer(small("gan", guard="skip", max_skips=2), tmp_path, quiet=True)
    poisoned(trainer, {1})
    loader = batches(trainer)
    trainer._step(next(loader))
    before = split(trainer.model.state_dict())
    trainer._step(next(loader))
    generator, critic = split(trainer.model.state_dict())
    assert same(critic, before[1])
    assert not same(generator, before[0])
    assert trainer.guard.in_a_row == 1
    assert trainer.guard.state_dict() == {"in_a_row": 0, "phases": {"critic": 1}}
    assert trainer.ema.steps == 2
    trainer._step(next(loader))
    assert trainer.guard.in_a_row == 0


def test_a_phase_that_is_skipped_too_often_ends_the_run(tmp_path):
    trainer = Trainer(small("gan", guard="skip", max_skips=2), tmp_path, quiet=True)
    poisoned(trainer, {3, 4, 5})
    with pytest.raises(DivergedError, match="got 3 steps in a row"):
        trainer.fit()
    facts = json.loads((tmp_path / "diverged.json").read_text())
    assert facts["term"] == "critic/loss = nan"
    assert facts["seeds"]["phases"]["critic"]["noise"] == [seed_of(0, 5, "noise", "critic", 0)]


def test_a_checkpoint_has_every_optimizer_and_another_schedule_is_refused(tmp_path):
    spec = small("gan", phases={"critic": SGD})
    trainer = Trainer(spec, tmp_path, quiet=True)
    trainer.fit()
    folder = tmp_path / "checkpoints" / "step-0000010"
    for phase in trainer.phases:
        assert same(read(folder, phase.file), phase.optimizer.state_dict())
    assert read(folder, "optimizer-critic")["param_groups"][0]["momentum"] == 0
    assert load(tmp_path).sample(2).shape == (2, 2)
    other = small("gan", phases={"critic": {**SGD, "every": 2}})
    with pytest.raises(CheckpointError, match='"every": 2'):
        Trainer(other, tmp_path, resume=True, quiet=True)
    again = run_spec(json.loads(spec.model_dump_json()))
    assert dump_yaml(again) == dump_yaml(spec)


def test_several_phases_run_in_bfloat16(tmp_path):
    trainer = Trainer(small("gan", precision="bf16", evaluate_every=5), tmp_path, quiet=True)
    seen = []
    trainer.model.critic[0].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    trainer.fit()
    assert {*seen} == {torch.bfloat16}  # evaluations too, as those of a model with one phase
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_phases_compute_the_same(tmp_path):
    states = []
    for compiled in (False, True):
        spec = small("gan", compile=compiled, steps=3)
        trainer = Trainer(spec, tmp_path / str(compiled), quiet=True)
        kinds = {type(phase.module).__name__ for phase in trainer.phases}
        assert kinds == {"OptimizedModule" if compiled else "InPhase"}
        trainer.model.critic[2].p = 0.0  # compiled dropout draws other numbers
        trainer.fit()
        states.append(trainer.model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_two_processes_have_the_gradient_of_one_in_every_phase(tmp_path):
    for process in launch(TOYS / "gan_ranks.py", tmp_path):
        assert process.returncode == 0, process.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert same(first["weights"], second["weights"])
    alone = gradients(tmp_path / "alone")
    for phase, names in alone.items():
        assert first["gradients"][phase].keys() == names.keys()
        for name, value in names.items():
            got = first["gradients"][phase][name]
            torch.testing.assert_close(got, value, rtol=0, atol=1e-6, msg=f"{phase} {name}")
