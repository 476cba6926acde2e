"""Whatever fails, the last checkpoint stays whole, and one line says what happened."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from plane_runs import PLANE, at_step, plane
from safetensors import SafetensorError

from corekit.checkpoint import folder as folders
from corekit.checkpoint import load, read
from corekit.checkpoint.folder import steps, tidy, verify
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.errors import CheckpointError, DataError
from corekit.spec import run_spec
from corekit.train.run_folder import RunFolder
from corekit.train.trainer import Trainer

TOYS = Path(__file__).parent.parent / "toys"


@pytest.fixture
def straight(tmp_path):
    """The weights after six steps without a fault."""
    Trainer(plane(), tmp_path / "straight", quiet=True).fit()
    return read(tmp_path / "straight" / "checkpoints" / "step-0000006", "model")


def goes_on(run, straight, spec=None):
    """A fault has passed: what is there is whole, and the run ends as if nothing had been."""
    for folder in steps(run):
        verify(folder)
    (run / "checkpoints" / ".step-0000004.partial-1").mkdir()  # as a killed process leaves it
    Trainer(spec or plane(), run, resume=True, quiet=True).fit()
    assert same(read(run / "checkpoints" / "step-0000006", "model"), straight)
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {f"step-{step:07d}" for step in (2, 4, 6)}


@contextmanager
def small_disk(limit):
    """No file may grow beyond some bytes: a write stops in the middle of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_kill_9_at_fifty_instants_of_saving_loses_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TOYS / "killed_saving.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["cut"] >= 10  # the kills did fall into saves


def test_a_kill_between_two_renames_is_mended(tmp_path):
    Trainer(plane(steps=2), tmp_path, quiet=True).fit()
    whole = tmp_path / "checkpoints" / "step-0000002"
    old = whole.with_name(".step-0000002.old-77")
    os.replace(whole, old)
    (whole.parent / ".step-0000004.partial-77").mkdir()
    tidy(tmp_path)
    assert [path.name for path in whole.parent.iterdir()] == ["step-0000002"]
    verify(whole)


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path, straight):
    trainer = Trainer(plane(), tmp_path / "run", quiet=True)
    save = trainer.save

    def full():
        with small_disk(150 if trainer.step == 4 else 10**6):
            return save()

    trainer.save = full
    words = r"must fit on the disk.*The last one is step-0000002"
    with pytest.raises(CheckpointError, match=words):
        trainer.fit()
    assert CheckpointError.exit_code == 7
    names = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert names == ["step-0000002"]  # not even a part of the other
    goes_on(tmp_path / "run", straight)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), SafetensorError("No space left on device")],
)
def test_no_space_is_told_in_one_line(tmp_path, monkeypatch, error, straight):
    trainer = Trainer(plane(), tmp_path / "run", quiet=True)
    real = folders.save_file

    def full(tensors, path, metadata):
        if trainer.step == 4:
            raise error
        real(tensors, path, metadata)

    monkeypatch.setattr(folders, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        trainer.fit()
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(folders, "save_file", real)
    goes_on(tmp_path / "run", straight)


def test_a_log_that_cannot_be_written_is_told(tmp_path, straight):
    trainer = Trainer(plane(log_every=1), tmp_path / "run", quiet=True)
    log = trainer.run.log

    def cut(record):
        room = 10 if record["step"] == 4 else 10**6  # a line is cut in the middle
        with small_disk(len(trainer.run.metrics.read_bytes()) + room if room == 10 else room):
            log(record)

    trainer.run.log = cut
    with pytest.raises(CheckpointError, match="the log must fit on the disk"):
        trainer.fit()
    assert [r["step"] for r in RunFolder(tmp_path / "run").records()] == [1, 2, 3]
    goes_on(tmp_path / "run", straight, plane(log_every=1))
    assert [r["step"] for r in RunFolder(tmp_path / "run").records()] == [1, 2, 3, 4, 5, 6]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a spec, for the commands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plane.yaml").write_text(yaml.safe_dump(PLANE))
    return tmp_path


def test_a_damaged_checkpoint_is_told_and_the_one_before_goes_on(here, capsys):
    assert main(["train", "plane.yaml", "--quiet"]) == 0
    run = here / "runs" / "plane"
    whole = read(run / "checkpoints" / "step-0000006", "model")
    file = run / "checkpoints" / "step-0000006" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    capsys.readouterr()
    assert main(["train", "plane.yaml", "--resume"]) == 7
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "the file is truncated or damaged. Use an earlier checkpoint." in told
    earlier = run / "checkpoints" / "step-0000004"
    assert main(["train", "plane.yaml", "--resume", str(earlier)]) == 0
    assert "resumed at step 4 in runs/plane" in capsys.readouterr().out.replace(str(here) + "/", "")
    assert same(read(run / "checkpoints" / "step-0000006", "model"), whole)


def test_a_loading_process_that_dies_is_told(tmp_path, straight):
    trainer = Trainer(plane(workers=2, keep=1000), tmp_path / "run", quiet=True)
    others = set(multiprocessing.active_children())  # of tests before this one

    def kill_a_worker():
        os.kill(min(set(multiprocessing.active_children()) - others, key=id).pid, signal.SIGKILL)

    at_step(trainer, 4, kill_a_worker)
    trainer.train = trainer.train.model_copy(update={"steps": 2000})
    how = r"alive, got the end of process \d+ with code -9\. Go on with --resume"
    with pytest.raises(DataError, match=f"every process that reads must stay {how}"):
        trainer.fit()
    run = tmp_path / "run"
    for folder in steps(run)[1:]:
        verify(folder)
    Trainer(plane(), run, resume=steps(run)[0], quiet=True).fit()
    assert same(read(run / "checkpoints" / "step-0000006", "model"), straight)


CLOUDS = {
    "version": 1,
    "model": {
        "type": "diffusion",
        "denoiser": {"type": "pointcloud.pointwise", "hidden": [4]},
        "schedule": {"type": "ddpm.linear", "steps": 10, "beta_start": 0.01, "beta_end": 0.9},
        "loss": {"type": "ddpm.mse"},
    },
    "data": {"type": "pointcloud.hdf5", "path": "x.h5", "points": 16},
    "train": {"steps": 50, "batch_size": 4, "device": "cpu", "checkpoint_every": 2},
}


def test_a_data_file_cut_short_during_a_run_is_told(here, capsys):
    clouds = np.random.default_rng(0).normal(size=(400, 2048, 3)).astype(np.float32)
    with h5py.File("x.h5", "w") as file:
        for split in ("train", "val", "test"):
            file[f"hat/{split}"] = clouds
    trainer = Trainer(run_spec(CLOUDS), "runs/clouds", quiet=True)
    at_step(trainer, 6, lambda: os.truncate("x.h5", 100_000))
    with pytest.raises(DataError, match=r"x\.h5"):
        trainer.fit()
    assert DataError.exit_code == 5
    verify(steps(Path("runs/clouds"))[-1])
    load("runs/clouds")


# -- long runs --------------------------------------------------------------------------------


def resident():
    """Memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_six_thousand_steps_and_a_hundred_checkpoints_leave_nothing_behind(tmp_path):
    spec = plane(steps=6000, checkpoint_every=60, keep=2, log_every=1000, ema=0.99)
    trainer = Trainer(spec, tmp_path / "run", quiet=True)
    seen = []
    for step in range(1200, 6000, 1200):
        at_step(trainer, step, lambda: seen.append((resident(), len(os.listdir("/proc/self/fd")))))
    trainer.fit()
    memory, files = zip(*seen, strict=True)
    assert max(files) == min(files)
    assert memory[-1] - memory[0] < 8, memory
    assert len(steps(tmp_path / "run")) == 2
