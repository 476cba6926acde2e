"""What each of two processes does for test_glow_runs.py: python glow_ranks.py FOLDER."""

import os
import sys
from pathlib import Path

import torch
from run_specs import small

from corekit.train.trainer import Trainer


def main():
    folder = Path(sys.argv[1])
    trainer = Trainer(small("glow", steps=5, init_rows=12), folder / "run", quiet=True)
    results, take = {"initial": state(trainer), "rows": []}, trainer._step
    trainer._step = lambda batch: results["rows"].append(batch.x.clone()) or take(batch)
    trainer.fit()
    results["state"] = state(trainer)
    torch.save(results, folder / f"rank{os.environ['RANK']}.pt")
    torch.distributed.destroy_process_group()


def state(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


if __name__ == "__main__":
    main()
