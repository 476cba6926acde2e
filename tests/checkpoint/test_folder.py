"""Checkpoint folders: complete or not there; damage is found."""

import os

import pytest
import torch

from corekit.checkpoint.folder import SUMS, find, prune, read, steps, verify, write
from corekit.errors import CheckpointError


@pytest.fixture
def checkpoint(tmp_path):
    run = tmp_path / "run"
    return write(
        run / "checkpoints" / "step-0000010",
        {"model": {"w": torch.arange(100.0)}},
        {"spec.yaml": "a: 1\n"},
    )


def test_a_sound_checkpoint_verifies(checkpoint):
    verify(checkpoint)
    assert read(checkpoint, "model")["w"][3] == 3
    assert sorted(p.name for p in checkpoint.iterdir()) == [
        SUMS,
        "model.json",
        "model.safetensors",
        "spec.yaml",
    ]


def test_a_truncated_file_is_found(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=r"model.safetensors.*truncated or damaged"):
        verify(checkpoint)
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read(checkpoint, "model")


def test_one_flipped_bit_is_found(checkpoint):
    file = checkpoint / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="another checksum"):
        verify(checkpoint)


def test_a_missing_file_is_found(checkpoint):
    (checkpoint / "model.json").unlink()
    with pytest.raises(CheckpointError, match=r"model.json must be there"):
        verify(checkpoint)
    with pytest.raises(CheckpointError, match=r"must have model.safetensors and .json"):
        read(checkpoint, "model")


def test_find_takes_a_run_or_a_checkpoint(checkpoint):
    run = checkpoint.parent.parent
    newer = write(run / "checkpoints" / "step-0000200", {"model": {}}, {})
    assert find(run) == newer
    assert find(str(checkpoint)) == checkpoint
    assert steps(run) == [checkpoint, newer]
    prune(run, 1)
    assert steps(run) == [newer]


def test_find_says_what_is_not_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        find(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="a folder without checkpoints"):
        find(tmp_path / "empty")
    torch.save({"a": 1}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"pickles, which run code.*corekit import"):
        find(tmp_path / "model.pt")


def test_a_failed_write_leaves_the_old_checkpoint(checkpoint):
    with pytest.raises(CheckpointError):
        write(checkpoint, {"model": {"w": torch.zeros(2)}, "state": object()}, {})
    verify(checkpoint)
    assert read(checkpoint, "model")["w"].shape == (100,)
    assert [p.name for p in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_a_checkpoint_is_replaced_whole(checkpoint):
    write(checkpoint, {"model": {"w": torch.zeros(2)}}, {})
    verify(checkpoint)
    assert not (checkpoint / "spec.yaml").exists()
    assert [p.name for p in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_a_half_written_folder_is_not_a_checkpoint(checkpoint):
    partial = checkpoint.with_name(f".step-0000020.partial-{os.getpid()}")
    partial.mkdir()
    (partial / "model.json").write_text("{}")
    assert find(checkpoint.parent.parent) == checkpoint
