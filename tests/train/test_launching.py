"""Launchers: torchrun and accelerate start processes that train, by command."""

import json
import subprocess
import sys
import time

import pytest
import yaml

from corekit.checkpoint import read

PLAIN = {
    "version": 1,
    "model": {"type": "flow", "bijector": "linear"},
    "data": {"type": "toy2d", "size": 60, "held_out": 40},
    "train": {"steps": 4, "batch_size": 6, "device": "cpu"},
}


@pytest.mark.slow
def test_torchrun_trains_samples_and_evaluates_by_command(tmp_path):
    (tmp_path / "plane.yaml").write_text(yaml.safe_dump(PLAIN))
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "--"]

    def command(*arguments):
        done = subprocess.run(
            [*start, "corekit", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout.strip().splitlines(), done.stderr

    code, out, err = command("train", "plane.yaml", "--quiet")
    assert (code, out) == (0, ["done: step 4 of 4, runs/plane/checkpoints/step-0000004"]), err
    code, out, err = command("sample", "runs/plane", "--num", "100")
    assert (code, len(out)) == (0, 3), err
    code, out, err = command("evaluate", "runs/plane", "--json")
    assert code == 0, err
    assert json.loads("\n".join(out))["rows"] == 40
    code, out, err = command("train", "plane.yaml", "--run", "plane")
    assert code != 0
    assert err.count("a new run must have a folder of its own") == 1


@pytest.mark.slow
def test_accelerate_launch_that_starts_one_of_two_is_refused(tmp_path):
    (tmp_path / "plane.yaml").write_text(yaml.safe_dump(PLAIN))
    start = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    done = subprocess.run(
        [*start, "-m", "corekit", "train", "plane.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert "all several processes must start, got 1" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--multi_gpu"], ["--use_fsdp", "--fsdp_version", "2"]])
def test_accelerate_launch_starts_two_processes_on_a_cpu(tmp_path, how):
    (tmp_path / "plane.yaml").write_text(yaml.safe_dump(PLAIN))
    start = [sys.executable, "-m", "accelerate.commands.launch", *how, "--num_processes", "2"]
    rest = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = subprocess.run(
        [*start, *rest, "-m", "corekit", "train", "plane.yaml", "--quiet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    last = "done: step 4 of 4, runs/plane/checkpoints/step-0000004"
    assert (done.returncode, done.stdout.strip()) == (0, last), done.stderr
    assert read(tmp_path / "runs/plane/checkpoints/step-0000004", "state")["processes"] == 2


@pytest.mark.slow
def test_torchrun_exits_with_one_and_the_run_says_seventy_five(tmp_path):
    """The agent does not pass codes on, so a job script reads the file."""
    tree = {**PLAIN, "train": {**PLAIN["train"], "steps": 10**6, "checkpoint_every": 10**6}}
    (tmp_path / "plane.yaml").write_text(yaml.safe_dump(tree))
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "--"]
    agent = subprocess.Popen(
        [*start, "corekit", "train", "plane.yaml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in agent.stdout:
            if "training in" in line:
                break
        deadline = time.monotonic() + 60
        while not list((tmp_path / "runs/plane").glob("metrics.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        agent.terminate()
        agent.communicate(timeout=120)
    finally:
        agent.kill()
    assert agent.returncode not in (0, 75)
    facts = json.loads((tmp_path / "runs" / "plane" / "stopped.json").read_text())
    assert (facts["reason"], facts["exit_code"]) == ("preempted", 75)
    assert len(list((tmp_path / "runs/plane/checkpoints").glob("step-*"))) == 1
