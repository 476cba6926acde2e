"""What a run shows of itself: times, memory, curves, trackers, traces, callbacks."""

import json
import time
from typing import ClassVar

import pytest
import torch
from PIL import Image

from corekit.checkpoint import read
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.errors import PluginError, SpecError, UsageError
from corekit.interfaces.callback import Callback
from corekit.registry import Component, Registry, use_registry
from corekit.report.curves import read_series, save_curves
from corekit.spec import Spec, run_spec
from corekit.train.profile import Profile, parse_profile
from corekit.train.trackers import flat
from corekit.train.trainer import Trainer
from corekit.train.watch import StopWatch, peak_memory


def records(run, split="train"):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["split"] == split]


def checkpoint(run):
    return sorted((run / "checkpoints").iterdir())[-1]


# -- times and memory -----------------------------------------------------------------------------


def test_records_say_what_a_step_costs(make_spec, tmp_path):
    Trainer(make_spec(), tmp_path / "run", quiet=True).fit()
    for record in records(tmp_path / "run"):
        cost = record["cost"]
        assert set(cost["ms"]) == {"data", "forward", "backward", "optimizer"}
        assert all(ms > 0 for ms in cost["ms"].values())
        assert cost["samples_per_s"] == pytest.approx(7 * record["steps_per_s"], rel=1e-2)
        assert 50 < cost["peak_memory_mib"] < 100_000


def test_phases_are_milliseconds_per_step_and_leave_out_what_is_between():
    watch = StopWatch(torch.device("cpu"))
    for _ in range(8):
        watch.begin()
        time.sleep(0.004)
        watch.mark("data")
        time.sleep(0.002)
        watch.mark("forward")
        time.sleep(0.02)  # a checkpoint, say
    found = watch.read()
    assert 4 <= found["data"] < 20  # not 32 of eight steps, nor 24 with what was between
    assert 2 <= found["forward"] < 14
    assert watch.read() == {}
    assert peak_memory(torch.device("cpu")) > 10


# -- curves ---------------------------------------------------------------------------------------


def test_a_run_leaves_a_picture_of_its_curves(make_spec, tmp_path):
    Trainer(make_spec(evaluate_every=10), tmp_path / "run", quiet=True).fit()
    with Image.open(tmp_path / "run" / "curves.png") as picture:
        assert picture.format == "PNG"
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0x26, 0x5C, 0xA8), (0xC8, 0x55, 0x1B)} <= colours  # training and held-out data


def test_curves_are_the_finite_values_of_each_split():
    lines = [
        {"step": 1, "split": "train", "loss": 1.0, "grad_norm": 9.0, "kl": 2.0, "lr": 0.1},
        {"step": 2, "split": "train", "loss": float("nan"), "kl": 3.0, "units": {"kl": "nats"}},
        {"step": 2, "split": "val", "loss": 4.0, "cost": {"ms": {}}},
        {"step": 3, "split": "train", "loss": "nan", "skipped": 2},
    ]
    series, units = read_series(lines)
    assert series == {
        "loss": {"train": ([1], [1.0]), "val": ([2], [4.0])},
        "kl": {"train": ([1, 2], [2.0, 3.0])},
        "grad_norm": {"train": ([1], [9.0])},
    }
    assert units == {"kl": "nats"}


def test_nothing_to_draw_is_no_picture(tmp_path):
    assert save_curves([], tmp_path / "curves.png") is None
    assert list(tmp_path.iterdir()) == []


def test_curves_keep_their_place_on_a_linear_and_a_logarithmic_axis(tmp_path):
    for name, high in {"linear": 2.0, "log": 1e6}.items():
        rows = [{"step": i, "split": "train", "loss": high if i == 5 else 1.0} for i in range(10)]
        path = save_curves(rows, tmp_path / f"{name}.png")
        with Image.open(path) as picture:
            line = [
                (x, y)
                for x in range(picture.width)
                for y in range(picture.height)
                if picture.getpixel((x, y)) == (0x26, 0x5C, 0xA8)
            ]
        top = min(line, key=lambda point: point[1])
        assert abs(top[0] - (62 + 5 / 9 * 246)) <= 2
        assert abs(top[1] - 30) <= 1


# -- callbacks ------------------------------------------------------------------------------------


class Recorder(Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.told = []

    def on_start(self, run):
        self.told.append(("start", run.step))

    def on_step_end(self, run):
        self.told.append(("step", run.step))

    def on_log(self, run, record):
        self.told.append(("log", record["step"], "kl" in record))

    def on_evaluate(self, run, record):
        self.told.append(("evaluate", record["step"], record["split"]))

    def on_checkpoint(self, run, folder):
        self.told.append(("checkpoint", (run.path / "checkpoints" / folder.name).is_dir()))

    def on_end(self, run, reason):
        self.told.append(("end", run.step, reason))


def test_callbacks_are_told_in_order(make_spec, tmp_path):
    callback = Recorder()
    spec = make_spec(steps=4, log_every=2, evaluate_every=4, checkpoint_every=4)
    Trainer(spec, tmp_path / "run", quiet=True, callbacks=[callback]).fit()
    assert callback.told == [
        ("start", 0),
        ("step", 1),
        ("step", 2),
        ("log", 2, True),
        ("step", 3),
        ("step", 4),
        ("log", 4, True),
        ("evaluate", 4, "val"),
        ("checkpoint", True),
        ("end", 4, None),
    ]


class Counting(Callback):
    """A plugin's callback: counts steps, stops at a number, or fails."""

    made: ClassVar[list[Callback]] = []

    def __init__(self, *, stop_at=None, fail=False):
        self.stop_at, self.fail, self.count = stop_at, fail, 0
        Counting.made.append(self)

    def on_step_end(self, run):
        self.count += 1
        if self.fail:
            raise ZeroDivisionError("by zero")
        if self.count == self.stop_at:
            run.stop()

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


class CountingSpec(Spec):
    """Counts."""

    type: str = "mine.counting"
    stop_at: int | None = None
    fail: bool = False


@pytest.fixture
def with_plugin():
    Counting.made.clear()
    registry = Registry.installed()
    registry.register(
        Component("callback", "mine.counting", spec="mine:S", target="mine:T", summary="counts"),
        objects={"mine:S": CountingSpec, "mine:T": Counting},
    )
    with use_registry(registry):
        yield


@pytest.mark.usefixtures("with_plugin")
def test_a_callback_acts_only_if_the_spec_names_it(make_spec, tmp_path):
    Trainer(make_spec(steps=2), tmp_path / "a", quiet=True).fit()
    assert Counting.made == []
    Trainer(make_spec(steps=2, callbacks=["mine.counting"]), tmp_path / "b", quiet=True).fit()
    assert [callback.count for callback in Counting.made] == [2]


@pytest.mark.usefixtures("with_plugin")
def test_what_a_callback_remembers_is_resumed(make_spec, tmp_path):
    callbacks = ["mine.counting", {"type": "mine.counting", "stop_at": 5}]
    run = tmp_path / "run"
    Trainer(make_spec(steps=3, callbacks=callbacks), run, quiet=True).fit()
    trainer = Trainer(make_spec(callbacks=callbacks), run, resume=True, quiet=True)
    assert trainer.fit() == "stopped by a callback"
    assert trainer.step == trainer.saved_step == 5
    assert read(checkpoint(run), "state")["callbacks"] == {"0": {"count": 5}, "1": {"count": 5}}


@pytest.mark.usefixtures("with_plugin")
def test_a_callback_that_fails_is_named(make_spec, tmp_path):
    callbacks = [{"type": "mine.counting", "fail": True}]
    trainer = Trainer(make_spec(callbacks=callbacks), tmp_path / "run", quiet=True)
    with pytest.raises(
        PluginError, match=r"callback 'mine\.counting': on_step_end.*ZeroDivisionError: by zero"
    ):
        trainer.fit()


def test_callbacks_change_no_bit(make_spec, tmp_path):
    stop = {"type": "stop_when", "patience": 50}
    for name, options in {"a": {}, "b": {"callbacks": [stop], "evaluate_every": 3}}.items():
        more = [Recorder()] if name == "b" else []
        spec = make_spec(steps=6, **options)
        Trainer(spec, tmp_path / name, quiet=True, callbacks=more).fit()
    assert same(
        read(checkpoint(tmp_path / "a"), "model"), read(checkpoint(tmp_path / "b"), "model")
    )


class Run:
    """What `stop_when` sees of a run."""

    def __init__(self):
        self.stopped = False
        self.spec = run_spec(
            {
                "version": 1,
                "model": {"type": "flow", "bijector": "linear"},
                "data": "toy2d",
                "train": {"evaluate_every": 1},
            }
        )

    def stop(self):
        self.stopped = True


def stop_when(**options):
    from corekit.build import component
    from corekit.spec import spec_class

    spec = spec_class("callback", "stop_when").model_validate({"type": "stop_when", **options})
    return component("callback", spec)


@pytest.mark.parametrize(
    ("options", "values", "after"),
    [
        ({"patience": 2}, [3.0, 2.0, 2.0, 2.5, 1.0], 4),
        ({"patience": 2}, [3.0, 2.0, 2.5, 1.0, 1.5], None),
        ({"patience": 2, "min_change": 0.5}, [3.0, 2.6, 2.2, 2.1, 2.0], 5),
        ({"patience": 2, "mode": "max"}, [3.0, 4.0, 3.0, 2.0, 9.0], 4),
        ({"patience": 1, "metric": "kl"}, [3.0, 2.0, 4.0], 3),
    ],
)
def test_stopping_waits_for_an_improvement(options, values, after):
    callback, run = stop_when(**options), Run()
    callback.on_start(run)
    stopped = None
    for i, value in enumerate(values, start=1):
        callback.on_evaluate(run, {options.get("metric", "loss"): value, "step": i})
        if run.stopped and stopped is None:
            stopped = i
    assert stopped == after


def test_stopping_by_a_figure_that_is_not_there_names_those_that_are():
    with pytest.raises(UsageError, match=r"got 'fid'\. Known: loss, kl"):
        stop_when(metric="fid").on_evaluate(Run(), {"step": 1, "loss": 1.0, "kl": 2.0})


def test_a_run_that_stops_early_is_saved_and_stays_stopped(make_spec, tmp_path):
    stop = {"type": "stop_when", "patience": 2, "min_change": 1e6}
    spec = make_spec(evaluate_every=3, callbacks=[stop])
    trainer = Trainer(spec, tmp_path / "run", quiet=True)
    assert trainer.fit() == "stopped by a callback"
    assert trainer.saved_step == trainer.step == 9  # one to be the best, two that are not better
    again = Trainer(spec, tmp_path / "run", resume=True, quiet=True)
    assert again.fit() == "stopped by a callback"
    assert again.step == 9
    with pytest.raises(UsageError, match="stop_when: the run must evaluate"):
        Trainer(make_spec(callbacks=[stop]), tmp_path / "other", quiet=True).fit()


# -- trackers -------------------------------------------------------------------------------------


def test_trackers_get_flat_values(make_spec, tmp_path, monkeypatch):
    from accelerate import tracking

    seen = {}

    class Fake(tracking.GeneralTracker):
        name = "fake"
        requires_logging_directory = True
        tracker = None

        def __init__(self, run_name, logging_dir, **options):
            super().__init__()
            seen.update(run=run_name, folder=logging_dir, logged=[])

        def store_init_configuration(self, values):
            seen["config"] = values

        def log(self, values, step=None, **options):
            seen["logged"].append((step, values))

        def finish(self):
            seen["finished"] = True

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "fake", Fake)
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["fake"])
    spec = make_spec(trackers=["fake"], evaluate_every=20, log_every=10)
    Trainer(spec, tmp_path / "run", quiet=True).fit()
    assert seen["run"] == "run"
    assert seen["folder"] == str(tmp_path / "run" / "trackers")
    assert seen["config"]["train.optimizer.betas.1"] == 0.999
    assert seen["config"]["model.encoder.type"] == "pointcloud.pointnet"
    assert all(isinstance(v, (int, float, str, bool)) for v in seen["config"].values())
    assert [step for step, _ in seen["logged"]] == [10, 20, 20]
    assert {"train/loss", "train/kl", "train/lr", "train/cost.ms.forward"} <= set(
        seen["logged"][0][1]
    )
    assert "val/loss" in seen["logged"][2][1]
    assert all(isinstance(v, (int, float)) for _, row in seen["logged"] for v in row.values())
    assert seen["finished"]


def test_a_tracker_that_is_not_there_is_refused(make_spec, tmp_path, monkeypatch):
    from accelerate import tracking

    monkeypatch.setattr(tracking, "get_available_trackers", list)
    for name, error, words in [
        ("tensorboard", PluginError, "pip install tensorboard"),
        ("comet_ml", PluginError, "pip install comet-ml"),
        ("tensorbord", UsageError, "got 'tensorbord'. Known: .*tensorboard"),
    ]:
        with pytest.raises(error, match=words):
            Trainer(make_spec(trackers=[name]), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_flat_keeps_every_value():
    tree = {"a": {"b": (1, None, True)}, "c": "x", "d": []}
    assert flat(tree) == {"a.b.0": 1, "a.b.1": "null", "a.b.2": True, "c": "x"}


# -- traces ---------------------------------------------------------------------------------------


def test_profile_writes_a_trace_of_the_steps(make_spec, tmp_path, capsys):
    from corekit.spec import dump_yaml

    (tmp_path / "spec.yaml").write_text(dump_yaml(make_spec(steps=5)))
    run = tmp_path / "run"
    words = ["train", str(tmp_path / "spec.yaml"), "--run", str(run), "--quiet"]
    assert main([*words, "--profile", "steps=2:3"]) == 0
    events = json.loads((run / "profile-2-3.json").read_text())["traceEvents"]
    names = [event.get("name") for event in events]
    assert sum(name == "Optimizer.step#Adam.step" for name in names) == 2
    assert "Self CPU" in (run / "profile-2-3.txt").read_text()


def test_a_profile_of_no_steps_is_refused(tmp_path):
    for text in ("10:15", "steps=10", "steps=a:b", "epochs=1:2"):
        with pytest.raises(UsageError, match="must be steps=FIRST:LAST, got"):
            parse_profile(text)
    with pytest.raises(UsageError, match="must have 1 <= FIRST <= LAST, got 3:2"):
        parse_profile("steps=3:2")
    assert isinstance(parse_profile("steps=1:1"), Profile)


def test_a_callback_that_is_not_installed_is_refused_with_the_spec(tree):
    tree["train"]["callbacks"] = ["stop_wen"]
    with pytest.raises(SpecError, match=r"No callback named 'stop_wen'\. Did you mean 'stop_when'"):
        run_spec(tree)
