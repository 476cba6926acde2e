"""Stages in each of two processes: python two_rank_stages.py FOLDER SHARDING."""

import os
import signal
import sys
import warnings
from pathlib import Path

import torch
from plane_runs import at_step
from stage_parts import stage_parts, staged, trained

from corekit.train import stages as module


def main():
    folder = Path(sys.argv[1])
    warnings.simplefilter("ignore")  # of parts that couple rows
    with stage_parts():
        spec = staged(point=False, sharding=sys.argv[2])
        whole = trained(spec, folder / "whole")
        make = module.Trainer

        def made(spec, path, **options):
            trainer = make(spec, path, **options)
            if path.name == "2-prior" and trainer.processes.rank == 1:
                at_step(trainer, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
            return trainer

        module.Trainer = made
        stopped = trained(spec, folder / "parts")
        module.Trainer = make
        resumed = trained(spec, folder / "parts", resume=True)
    results = [(o.reason, o.stage, o.step) for o in (whole, stopped, resumed)]
    torch.save(results, folder / f"rank{os.environ['RANK']}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
