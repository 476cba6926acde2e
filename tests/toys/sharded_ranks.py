"""What each of two processes does for test_sharding.py: python sharded_ranks.py FOLDER."""

import copy
import gc
import os
import signal
import sys
from pathlib import Path

import torch
from learning_parts import offered
from rows_of_all import one_gradient
from run_specs import small
from torch import nn
from torch.distributed.fsdp import FSDPModule
from two_ranks import loader_of

from corekit.build import build
from corekit.checkpoint import load, read
from corekit.checkpoint.shares import is_shared_out, whole
from corekit.flows.model import FlowModel
from corekit.train import sharding
from corekit.train.processes import Processes
from corekit.train.sharding import Sharding, clip
from corekit.train.trainer import Trainer

GROUPS = [{"match": "*.bias", "lr": 1e-4}]
SMALL_UNITS = 50  # parameters, so that these small models have parts that gather for themselves


def spec(name, **train):
    drawn = {"sample_every": 10, "samples": 100} if name == "flow" else {}
    return small(name, sharding="full", evaluate_every=5, **drawn, **train)


def numel(tensors):
    return sum(getattr(t, "to_local", lambda t=t: t)().numel() for t in tensors)


def trained(folder, results):
    """Ten steps of each model, sharded; every process samples a number of its own at the end."""
    for name in ("flow", "latent"):
        trainer = Trainer(spec(name), folder / name, quiet=True)
        own = [type(m).__name__ for m in trainer.model.modules() if isinstance(m, FSDPModule)]
        results[f"units {name}"] = [name.removeprefix("FSDP") for name in own]
        trainer.fit()
        memory = trainer.main.optimizer.state.values()
        results[f"here {name}"] = {
            "weights": numel(trainer.model.parameters()),
            "average": numel(trainer.ema.shadows[0.9]),
            "memory": numel(state["exp_avg"] for state in memory),
        }
        results[f"whole {name}"] = sum(p.numel() for p in trainer.model.parameters())
        with trainer.evaluating():
            results[f"own {name}"] = trainer.model.sample(2 + trainer.processes.rank).shape[0]
    seen = {}
    trainer.model.encoder.register_forward_pre_hook(
        lambda encoder, _: seen.update({n: b.clone() for n, b in encoder.named_buffers()})
    )
    trainer.model.train()
    for _ in range(2):
        trainer._step(next(iter(loader_of(trainer))))
    results["buffers"] = seen  # as the second step found them


def entered(folder, results):
    """Entry points, called by all processes on the weights that are shares."""
    trainer = Trainer(spec("flow"), folder / "flow", resume=True, quiet=True)
    x = trainer.dataset.split("train").points()[:5]
    model, plain = trainer.model.eval(), load(folder / "flow", ema=False)
    with torch.no_grad():
        z = model.encode(x)
        results["entered"] = [
            (model.log_prob(x).value, plain.log_prob(x).value),
            (z, plain.encode(x)),
            (model.decode(z), plain.decode(z)),
            (model.reconstruct(x), plain.reconstruct(x)),
            (model.sample(3, generator=seeded()), plain.sample(3, generator=seeded())),
        ]
    results["here after entry"] = numel(model.parameters())


def seeded():
    return torch.Generator().manual_seed(0)


def freed(folder, results):
    """Whole parameters that are left in memory, of a run with frozen parts."""
    trainer = Trainer(spec("latent", parts=["prior.*"]), folder / "freed", quiet=True)
    trainer._step(next(iter(loader_of(trainer))))
    gc.collect()
    # by type: isinstance asks an object for its class, and a dead proxy raises
    kept = [p for p in gc.get_objects() if type(p) is nn.Parameter and not is_shared_out(p)]
    kept = [p for p in kept if p.untyped_storage().size() > 0]
    results["freed"] = sum(p.numel() for p in kept)


def gradients(folder, results):
    for name in ("gain", "latent"):
        found = one_gradient(name, folder / f"gradient-{name}", sharding="full")
        results[f"gradient {name}"] = dict(whole(found))
    found = one_gradient("gain", folder / "gradient-parts", sharding="full", accumulate=3)
    results["gradient in parts"] = dict(whole(found))


def stopped(folder, results):
    """Stop after four steps and go on; accumulated parts, and groups of parameters."""
    options = {"batch_size": 8, "accumulate": 2, "groups": GROUPS, "steps": 8}
    Trainer(spec("latent", **options), folder / "straight", quiet=True).fit()
    trainer = Trainer(spec("latent", **options), folder / "stopped", quiet=True)
    take = trainer._step

    def stopping(batch):
        if trainer.step == 4 and trainer.processes.rank == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        return take(batch)

    trainer._step = stopping
    results["reason"] = trainer.fit()
    Trainer(spec("latent", **options), folder / "stopped", resume=True, quiet=True).fit()


class Turning(FlowModel):
    """One entry point calls another, and needs weights after it."""

    entry_points = ("encode", "turned")

    def turned(self, x):
        return self.encode(x) @ self.density.bijector[-1].weight.T


def nested(folder, results):
    torch.manual_seed(0)
    model = build(small("gain")).eval()
    model.__class__ = Turning
    x = torch.randn(4, 2, generator=seeded())
    results["turned"] = [model.turned(x).detach()]
    Sharding(model, Processes(), torch.device("cpu"), wanted=True)
    results["turned"].append(model.turned(x).detach())


def exchanged(folder, results):
    """A run in half precision with whole weights goes on with shares, and keeps less."""
    Trainer(small("flow", evaluate_every=5, precision="bf16"), folder / "whole", quiet=True).fit()
    half = spec("flow", precision="bf16", activation_checkpointing=True)
    source = folder / "whole" / "checkpoints" / "step-0000008"
    trainer = Trainer(half, folder / "shares", resume=source, quiet=True)
    parts = (trainer.model, trainer.ema, trainer.main.optimizer)
    trees = [part.state_dict() for part in parts]
    results["whole then shares"] = copy.deepcopy(whole(trees))
    results["whole"] = [read(source, name) for name in ("model", "ema", "optimizer")]
    trainer.fit()


def norms(folder, results):
    """One step's gradient of a model with a parameter that stays whole."""
    trainer = Trainer(small("gain", sharding="full"), folder / "norm", quiet=True)
    batch = next(iter(loader_of(trainer)))
    trainer.model(batch, draws=None).total.mean().backward()
    before = [g.clone() for g in whole([p.grad for p in trainer.model.parameters()])]
    norm = clip(list(trainer.model.parameters()), 1.0)
    after = whole([p.grad for p in trainer.model.parameters()])
    results["norm"] = norm, flat_norm(before), flat_norm(after)


def flat_norm(tensors):
    return torch.cat([t.flatten() for t in tensors]).norm()


def main():
    folder = Path(sys.argv[1])
    sharding._UNIT = SMALL_UNITS
    results = {}
    with offered():
        for work in (freed, trained, entered, gradients, stopped, nested, exchanged, norms):
            work(folder, results)
    torch.save(results, folder / f"rank{os.environ['RANK']}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
