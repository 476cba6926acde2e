"""A tiny flow on points in the plane, and a hook into its steps."""

from corekit.spec import run_spec

PLANE = {
    "version": 1,
    "model": {"type": "flow", "bijector": "linear"},
    "data": {"type": "toy2d", "size": 60, "held_out": 40},
    "train": {"steps": 6, "batch_size": 6, "device": "cpu", "checkpoint_every": 2, "keep": 9},
}


def plane(**train):
    return run_spec({**PLANE, "train": {**PLANE["train"], **train}})


def at_step(trainer, step, action):
    """Do something before a step is taken."""
    take = trainer._step

    def acting(batch):
        if trainer.step == step - 1:
            action()
        return take(batch)

    trainer._step = acting
