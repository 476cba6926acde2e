"""Timestep samplers in real runs: they learn, they resume, and all processes draw one batch."""

from pathlib import Path

import pytest
import torch
from learning_parts import offered
from ranks import launch
from resuming import Case, check
from run_specs import small

from corekit.train.trainer import Trainer

TOYS = Path(__file__).parent.parent / "toys"


@pytest.mark.parametrize(
    "case",
    [
        Case("second_moment", 0, "fp32", 1, 1, "killed"),
        Case("second_moment", 0, "bf16", 3, 1, "signal"),
        Case("antithetic", 0, "fp32", 3, 1, "signal"),
    ],
    ids=str,
)
def test_a_resumed_run_is_the_run_uninterrupted(case, tmp_path):
    with offered():
        assert check(case, tmp_path) == []


def test_losses_of_a_run_change_what_it_draws(tmp_path):
    trainer = Trainer(small("second_moment", batch_size=12), tmp_path / "run", quiet=True)
    timesteps = trainer.model.density.timesteps
    trainer.fit()
    assert timesteps.counts.tolist() == [3] * 4
    assert timesteps.probabilities.max() > 1.2 * timesteps.probabilities.min()


@pytest.mark.slow
def test_two_processes_learn_the_same_and_draw_one_batch(tmp_path):
    for process in launch(TOYS / "timestep_ranks.py", tmp_path):
        assert process.returncode == 0, process.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    for name, value in first["second_moment"]["buffers"].items():
        assert torch.equal(value, second["second_moment"]["buffers"][name]), name
    assert first["second_moment"]["buffers"]["counts"].min() == 3
    pairs = list(
        zip(first["second_moment"]["steps"], second["second_moment"]["steps"], strict=True)
    )
    assert not all(torch.equal(a, b) for a, b in pairs)
    # 2 x 3 rows of 20 steps: from one to the next it is 20 / 6, rounded up or down
    offsets = set()
    for a, b in zip(first["antithetic"]["steps"], second["antithetic"]["steps"], strict=True):
        together = torch.cat((a, b)).sort().values
        assert set(together.diff().tolist()) <= {3, 4}
        offsets.add(int(together[0]))
    assert len(offsets) > 1
