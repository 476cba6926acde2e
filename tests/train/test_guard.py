"""What happens when a number is not finite: found, named, skipped, and taken again."""

import json
import math
import os
import sys
from pathlib import Path

import pytest
import torch

from corekit.checkpoint import read
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.data.loading import CounterSampler
from corekit.errors import CheckpointError, DivergedError, UsageError
from corekit.interfaces.draws import seed_of
from corekit.spec import dump_yaml
from corekit.train.diverged import Culprit, replay
from corekit.train.meter import Meter
from corekit.train.trainer import Trainer

LAYER = "decoder.denoiser.gate"


@pytest.fixture
def breaking(monkeypatch):
    """Makes a module's output (or its gradient) not finite at given steps, in replays too."""

    def install(steps, what="output", value=math.nan):
        start = Trainer.__init__

        def init(self, *args, **options):
            start(self, *args, **options)
            module = self.model.get_submodule(LAYER)

            def wrong(tensor):
                hit = self.step in steps and module.training
                return tensor * value if hit else tensor

            def hook(module, inputs, output):
                if what == "output":
                    return wrong(output)
                if output.requires_grad:
                    output.register_hook(wrong)
                return output

            module.register_forward_hook(hook)

        monkeypatch.setattr(Trainer, "__init__", init)

    return install


def checkpoint(run):
    return sorted((run / "checkpoints").iterdir())[-1]


def diverge(spec, run):
    with pytest.raises(DivergedError) as error:
        Trainer(spec, run, quiet=True).fit()
    return str(error.value), json.loads((run / "diverged.json").read_text())


def test_the_report_names_the_step_the_term_and_the_module(make_spec, tmp_path, breaking):
    breaking({7})
    run = tmp_path / "run"
    message, facts = diverge(make_spec(checkpoint_every=5, log_every=5), run)
    assert "got loss = nan in steps up to 10. Step 8: reconstruction_mse = " in message
    assert f"The first number that is not finite is in the output of '{LAYER}'." in message
    assert "The last checkpoint is of step 5." in message
    assert f"corekit train SPEC --replay {run / 'diverged.json'}" in message
    assert facts["step"] == 8
    assert facts["checkpoint"] == os.path.join("checkpoints", "step-0000005")
    assert facts["first"] == {"where": "output", "name": LAYER}


def test_the_dump_holds_what_the_step_depends_on(make_spec, tmp_path, breaking):
    breaking({7})
    _, facts = diverge(make_spec(), tmp_path / "run")
    size = len(Trainer(make_spec(), tmp_path / "other", quiet=True).dataset.split("train"))
    rows = CounterSampler(size, 7, seed_of(0, "data")).batch(7)
    assert [(row["epoch"], row["index"]) for row in facts["rows"]] == rows
    assert facts["seeds"]["noise"] == [seed_of(0, 7, "noise", 0)]
    assert facts["seeds"]["dropout"] == [seed_of(0, 7, "dropout", 0)]
    assert facts["terms"]["loss"] in ("nan", "inf")
    assert facts["terms"]["z_mean"] not in ("nan", "inf")
    assert facts["checkpoint"] is None


def test_a_gradient_alone_is_found_too(make_spec, tmp_path, breaking):
    breaking({3}, "gradient", math.nan)
    message, facts = diverge(make_spec(grad_clip=None), tmp_path / "run")
    assert "Step 4: grad_norm = nan" in message
    assert facts["first"]["where"] == "gradient"
    assert facts["first"]["name"].startswith(LAYER)


def test_a_replay_from_a_checkpoint_finds_the_same(make_spec, tmp_path, breaking):
    breaking({7})
    run = tmp_path / "run"
    spec = make_spec(checkpoint_every=5)
    diverge(spec, run)
    before = sorted(path for path in run.rglob("*"))
    assert replay(spec, run / "diverged.json") == Culprit("output", LAYER)
    assert sorted(path for path in run.rglob("*")) == before


def test_a_replay_takes_the_steps_of_the_run(make_spec, tmp_path, breaking, monkeypatch):
    """The weights before the step are those that the run had, to the last bit."""
    breaking({7})
    seen = []
    step = Trainer._step

    def recording(self, batch):
        if self.step == 7:
            weights = {k: v.clone() for k, v in self.model.state_dict().items()}
            seen.append((weights, batch))
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", recording)
    diverge(make_spec(checkpoint_every=3), tmp_path / "run")
    (there, batch), (again, batch_again) = seen
    assert same(there, again)
    assert torch.equal(batch.x, batch_again.x)
    assert torch.equal(batch.index, batch_again.index)


def test_the_command_replays(make_spec, tmp_path, breaking, capsys, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context():
        breaking({7})
        spec = make_spec(checkpoint_every=5)
        diverge(spec, run)
        assert main(["train", str(run / "spec.yaml"), "--replay", str(run / "diverged.json")]) == 6
    out = capsys.readouterr()
    assert f"step 8: the output of '{LAYER}' is not finite" in out.out + out.err


def test_a_replay_that_goes_well_says_so(make_spec, tmp_path, capsys):
    trainer = Trainer(make_spec(log_every=1000), tmp_path / "run", quiet=True)
    step = trainer._step

    def breaking_once(batch):
        if trainer.step == 4:  # from outside of the step: no replay can know
            with torch.no_grad():
                trainer.model.get_submodule(LAYER).weight.fill_(math.nan)
        return step(batch)

    trainer._step = breaking_once
    with pytest.raises(
        DivergedError,
        match="Taken again, it is finite: the weights were changed outside of a step",
    ):
        trainer.fit()
    run = tmp_path / "run"
    assert replay(make_spec(log_every=1000), run / "diverged.json") is None
    assert main(["train", str(run / "spec.yaml"), "--replay", str(run / "diverged.json")]) == 0
    assert "step 5: everything is finite" in capsys.readouterr().out


def test_a_replay_takes_up_the_skips_before_the_step(make_spec, tmp_path, breaking):
    """From a checkpoint in the middle of them: that many in a row do not end the replay."""
    breaking({4, 5, 6})
    spec = make_spec(guard="skip", max_skips=2, checkpoint_every=6)
    run = tmp_path / "run"
    message, facts = diverge(spec, run)
    assert facts["checkpoint"].endswith("step-0000006")
    assert f"is in the output of '{LAYER}'" in message
    trainer = Trainer(spec, tmp_path / "copy", resume=run, quiet=True)
    assert trainer.guard.in_a_row == 2


def test_a_replay_starts_at_the_checkpoint(make_spec, tmp_path, breaking, monkeypatch):
    breaking({7})
    spec = make_spec(checkpoint_every=5)
    diverge(spec, tmp_path / "run")
    taken = []
    step = Trainer._step

    def counting(self, batch):
        taken.append(self.step)
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", counting)
    replay(spec, tmp_path / "run" / "diverged.json")
    assert taken == [5, 6, 7]


def test_a_file_that_is_no_dump_is_refused(make_spec, tmp_path):
    with pytest.raises(CheckpointError, match=r"must be a diverged\.json of a run"):
        replay(make_spec(), tmp_path / "none.json")
    (tmp_path / "val.json").write_text('{"checkpoint": null}')
    with pytest.raises(UsageError, match="it was an evaluation"):
        replay(make_spec(), tmp_path / "val.json")


def test_skipping_leaves_everything_as_it_was_and_goes_on(make_spec, tmp_path, breaking):
    breaking({4})
    spec = make_spec(guard="skip", log_every=5)
    trainer = Trainer(spec, tmp_path / "run", quiet=True)
    step = trainer._step
    states = {}

    def recording(batch):
        def state():
            parts = trainer.model.state_dict(), trainer.ema.state_dict()
            optimizer = trainer.main.optimizer.state_dict()["state"]
            return [{k: v.clone() for k, v in part.items()} for part in parts] + [
                {i: {k: v.clone() for k, v in s.items()} for i, s in optimizer.items()}
            ]

        before = state()
        values = step(batch)
        states[trainer.step - 1] = before, state()
        return values

    trainer._step = recording
    assert trainer.fit() is None
    assert same(*states[4])  # weights, running statistics, averages and optimizer
    assert not same(*states[5])
    records = [r for r in trainer.run.records() if r["split"] == "train"]
    assert [r.get("skipped") for r in records] == [1, None, None, None]
    assert all(math.isfinite(r["loss"]) for r in records)
    assert trainer.ema.steps == 19
    assert not (tmp_path / "run" / "diverged.json").exists()


def test_more_skipped_steps_in_a_row_than_allowed_end_the_run(make_spec, tmp_path, breaking):
    breaking({3, 5, 6, 9, 10, 11, 12})
    spec = make_spec(guard="skip", max_skips=2, log_every=50)
    run = tmp_path / "run"
    message, facts = diverge(spec, run)
    assert "got 3 steps in a row whose gradient is not (train.max_skips is 2)" in message
    assert "Step 12: reconstruction_mse = nan" in message
    assert facts["step"] == 12
    assert facts["first"] == {"where": "output", "name": LAYER}
    assert replay(spec, run / "diverged.json") == Culprit("output", LAYER)


def test_a_resumed_run_goes_on_counting(make_spec, tmp_path, breaking):
    breaking({4, 5, 6})
    options = {"guard": "skip", "max_skips": 2, "checkpoint_every": 6}
    Trainer(make_spec(**options, steps=6), tmp_path / "run", quiet=True).fit()
    assert read(checkpoint(tmp_path / "run"), "state")["guard"] == {"in_a_row": 2}
    with pytest.raises(DivergedError, match="got 3 steps in a row"):
        Trainer(make_spec(**options), tmp_path / "run", resume=True, quiet=True).fit()


def test_a_run_that_skips_resumes_bit_for_bit(make_spec, tmp_path, breaking):
    breaking({2, 6})
    for name, stops in {"a": [9], "b": [3, 9]}.items():
        for i, steps in enumerate(stops):
            spec = make_spec(guard="skip", steps=steps)
            Trainer(spec, tmp_path / name, resume=i > 0, quiet=True).fit()
    a, b = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b")
    for tree in ("model", "ema", "optimizer", "state"):
        assert same(read(a, tree), read(b, tree)), tree


def test_a_guard_that_never_skips_changes_no_bit(make_spec, tmp_path):
    for name in ("report", "skip"):
        Trainer(make_spec(guard=name, steps=6), tmp_path / name, quiet=True).fit()
    a, b = checkpoint(tmp_path / "report"), checkpoint(tmp_path / "skip")
    assert same(read(a, "model"), read(b, "model"))


def test_reporting_reads_nothing_back_before_the_log(make_spec, tmp_path, monkeypatch):
    """Between two log lines nothing asks for the value of a tensor, which would wait for a GPU."""
    trainer = Trainer(make_spec(log_every=10, steps=30), tmp_path / "run", quiet=True)
    read_at = []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        plain = getattr(torch.Tensor, name)

        def recording(tensor, *args, plain=plain, **options):
            caller = Path(sys._getframe(1).f_code.co_filename)
            if "train" in caller.parts and caller.name != Path(__file__).name:
                read_at.append(trainer.step)
            return plain(tensor, *args, **options)

        monkeypatch.setattr(torch.Tensor, name, recording)
    trainer.fit()
    assert {step for step in read_at if step < 30} <= {10, 20}


def test_the_meter_finds_the_first_step_that_was_not_finite():
    meter = Meter()
    for value in [*range(2000), math.nan, 1.0, math.inf, *[2.0] * 1500, math.nan, 2.0]:
        meter.add({"loss": torch.tensor(float(value)), "grad_norm": torch.tensor(1.0)})
    assert math.isnan(meter.read()["loss"])
    assert meter.bad.ago == 1504
    assert math.isnan(meter.bad.values["loss"])
    assert meter.read() == {}
    assert meter.bad is None


def test_the_meter_leaves_out_what_was_skipped():
    meter = Meter(skipping=True)
    for loss, norm in [(1.0, 1.0), (math.nan, math.inf), (3.0, 1.0)]:
        meter.add({"loss": torch.tensor(loss), "grad_norm": torch.tensor(norm)})
    assert meter.read() == {"loss": 2.0, "grad_norm": 1.0}
    assert (meter.skipped, meter.bad) == (1, None)
    assert math.isnan(meter.last_skipped["loss"])
    meter.add({"loss": torch.tensor(math.nan), "grad_norm": torch.tensor(1.0)})
    assert math.isnan(meter.read()["loss"])  # the step was taken: a loss that is not finite counts
    assert meter.bad.ago == 0


def test_half_precision_on_a_cpu_is_refused_before_anything_is_written(tree, tmp_path, make_spec):
    spec = tmp_path / "half.yaml"
    spec.write_text(dump_yaml(make_spec(precision="fp16")))
    assert main(["train", str(spec), "--run", str(tmp_path / "half")]) == 2
    assert not (tmp_path / "half").exists()
