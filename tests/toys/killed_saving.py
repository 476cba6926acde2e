"""Save again and again in a child that is killed at a random instant: python killed_saving.py RUN.

Prints one line of JSON: how many saves were cut, and what was wrong afterwards.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from corekit.checkpoint.folder import prune, read, steps, tidy, verify, write

KILLS = 50


def content(step):
    """Big enough that a kill falls into the middle of a file now and then."""
    return {
        "model": {"w": torch.full((200_000,), float(step))},
        "state": {"step": step},
    }


def save_for_ever(run, first):
    for step in range(first, first + 10_000):
        folder = run / "checkpoints" / f"step-{step:07d}"
        write(folder, content(step), {"spec.yaml": "x\n" * 1000})
        if step % 3 == 0:
            write(folder, content(step), {"spec.yaml": "x\n" * 1000})  # over an older one
        prune(run, 2, best=first)


def main():
    run, wrong, cut, last = Path(sys.argv[1]), [], 0, 0
    random.seed(0)
    write(run / "checkpoints" / "step-0000000", content(0), {})
    for number in range(KILLS):
        child = os.fork()
        if child == 0:
            save_for_ever(run, last + 1)
        time.sleep(random.uniform(0.002, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        rests = list((run / "checkpoints").glob(".step-*"))
        cut += bool(rests)
        tidy(run)
        found = steps(run)
        for folder in found:
            verify(folder)
            step = int(folder.name.removeprefix("step-"))
            if read(folder, "state")["step"] != step or read(folder, "model")["w"][-1] != step:
                wrong.append(f"kill {number}: {folder.name} holds another step")
        if not found or int(found[-1].name.removeprefix("step-")) < last:
            wrong.append(f"kill {number}: {last} was there, found {[f.name for f in found]}")
        if list((run / "checkpoints").glob(".step-*")):
            wrong.append(f"kill {number}: left overs")
        last = int(found[-1].name.removeprefix("step-"))
    print(json.dumps({"cut": cut, "last": last, "wrong": wrong}))


if __name__ == "__main__":
    main()
