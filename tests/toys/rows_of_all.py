"""The gradient of one step with noise that does not depend on how many processes share it."""

import torch
from run_specs import small

from corekit.data.loading import Loader
from corekit.interfaces.draws import Draws, seed_of
from corekit.train.trainer import Trainer


class RowsOfAll(Draws):
    """Draws for the rows of all processes, and gives this one its own."""

    def __init__(self, processes):
        ranks = {"rank": processes.rank, "world": processes.world}
        super().__init__(torch.Generator().manual_seed(1), **ranks)
        self.processes = processes

    def _own(self, numbers):
        return numbers.chunk(self.processes.world)[self.processes.rank]

    def _draw(self, make, shape, like):
        whole = (shape[0] * self.processes.world, *shape[1:])
        return self._own(super()._draw(make, whole, like))

    def integers(self, name, high, shape, device):
        whole = (shape[0] * self.processes.world, *shape[1:])
        return self._own(super().integers(name, high, whole, device))


def one_gradient(model, folder, **train):
    """The gradients that the optimizer gets in the first step, by name; norms do not learn."""
    trainer = Trainer(small(model, grad_clip=None, **train), folder, quiet=True)
    if model == "latent":
        trainer.model.encoder.eval()  # all of its batch norms use running statistics
    trainer.draws = lambda: RowsOfAll(trainer.processes)
    found = {}

    def look(*_):
        found.update({n: p.grad.clone() for n, p in trainer.model.named_parameters()})

    trainer.main.optimizer.register_step_pre_hook(look)
    ranks = {"rank": trainer.processes.rank, "world": trainer.processes.world}
    loader = Loader(trainer.dataset.split("train"), 6, seed=seed_of(0, "data"), **ranks)
    trainer._step(next(iter(loader)))
    return found
