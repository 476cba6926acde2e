"""What each of two processes does for test_timesteps.py: python timestep_ranks.py FOLDER."""

import os
import sys
from pathlib import Path

import torch
from learning_parts import offered
from run_specs import small

from corekit.train.trainer import Trainer


def drawn(name, folder):
    """The steps that each row of this process was trained at, and what was learnt from them."""
    trainer = Trainer(small(name), folder / name, quiet=True)
    timesteps, times, steps = trainer.model.density.timesteps, [], []
    sample = timesteps.sample

    def keeping(*args, **kwargs):
        level, weight = sample(*args, **kwargs)
        times.append(level.time)
        steps.append(level.step)
        return level, weight

    timesteps.sample = keeping
    trainer.fit()
    buffers = {name: value.clone() for name, value in timesteps.named_buffers()}
    return {"times": times[:10], "steps": steps[:10], "buffers": buffers}


def main():
    folder = Path(sys.argv[1])
    with offered():
        results = {name: drawn(name, folder) for name in ("second_moment", "antithetic")}
    torch.save(results, folder / f"rank{os.environ['RANK']}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
