"""What each of two processes does for test_phases.py: python gan_ranks.py FOLDER."""

import os
import sys
from pathlib import Path

import torch
from gradients_of_phases import gradients
from learning_parts import offered
from run_specs import small

from corekit.train.trainer import Trainer


def main():
    folder = Path(sys.argv[1])
    with offered():
        found = {"gradients": gradients(folder / "gradients", accumulate=2)}
        trainer = Trainer(small("gan", ema=None), folder / "run", quiet=True)
        trainer.fit()
        found["weights"] = trainer.model.state_dict()
    torch.save(found, folder / f"rank{os.environ['RANK']}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
