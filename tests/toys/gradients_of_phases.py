"""The gradients of one step of a model with two phases, however many processes share it."""

from rows_of_all import RowsOfAll
from run_specs import small

from corekit.data.loading import Loader
from corekit.interfaces.draws import seed_of
from corekit.train.trainer import Trainer


def gradients(folder, **train):
    """What each optimizer gets in the first step: names of parameters to gradients, by phase."""
    trainer = Trainer(small("gan", grad_clip=None, **train), folder, quiet=True)
    trainer.model.critic[2].p = 0.0  # dropout differs between processes
    trainer.draws = lambda: RowsOfAll(trainer.processes)
    found = {}

    def look_at(phase):
        def look(*_):
            named = trainer.model.named_parameters()
            found[phase.name] = {n: p.grad.clone() for n, p in named if p.grad is not None}

        return look

    for phase in trainer.phases:
        phase.optimizer.register_step_pre_hook(look_at(phase))
    ranks = {"rank": trainer.processes.rank, "world": trainer.processes.world}
    loader = Loader(trainer.dataset.split("train"), 6, seed=seed_of(0, "data"), **ranks)
    trainer._step(next(iter(loader)))
    return found
