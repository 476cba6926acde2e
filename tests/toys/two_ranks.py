"""What each of two processes does for test_distributed.py: python two_ranks.py FOLDER."""

import os
import signal
import sys
import warnings
from pathlib import Path

import torch
from learning_parts import offered
from rows_of_all import one_gradient
from run_specs import small

from corekit.checkpoint import load
from corekit.checkpoint.tree import same
from corekit.errors import UsageError
from corekit.interfaces.records import Batch
from corekit.spec import run_spec
from corekit.train.evaluation import evaluate
from corekit.train.processes import Processes, Share
from corekit.train.sampling import generate
from corekit.train.stopping import Stop, Stopped
from corekit.train.trainer import Trainer


def state(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def trained(folder, results):
    """Ten steps of each model: what is said, and the weights of this process."""
    for name in ("flow", "latent"):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            trainer = Trainer(small(name, evaluate_every=5), folder / name, quiet=True)
        initial, rows = state(trainer), []
        take = trainer._step
        trainer._step = lambda batch, take=take, rows=rows: rows.append(batch.rows) or take(batch)
        trainer.fit()
        messages = [str(warning.message) for warning in said]
        results[name] = {"initial": initial, "state": state(trainer), "warnings": messages}
        results[name]["rows"] = rows


def gradients(folder, results):
    for name in ("flow", "diffusion", "latent"):
        results[f"gradient {name}"] = one_gradient(name, folder / f"gradient-{name}")


def noise(folder, results):
    """The first noise of this process, and of a second step."""
    trainer = Trainer(small("flow"), folder / "noise", quiet=True)
    seen, ranks = [], []
    model = trainer.main.module
    trainer.main.module = lambda part, draws: (
        seen.append(draws.normal("x", (4,), torch.empty(0)))
        or ranks.append((draws.rank, draws.world))
        or model(part, draws=draws)
    )
    for _ in range(2):
        trainer._step(next(iter(loader_of(trainer))))
    results["noise"], results["draws are of"] = seen, ranks


def learnt(folder, results):
    """Two rows in one process and three in the other; saved in the middle, and gone on."""
    trainer = Trainer(small("diffusion"), folder / "learnt", quiet=True)
    trainer.model.train()
    rank = trainer.processes.rank
    numbers = torch.Generator().manual_seed(rank)
    batches = [Batch(torch.randn(2 + rank, 16, 3, generator=numbers)) for _ in range(6)]
    initial = buffers(trainer)
    trainer.main.module(batches[0], draws=trainer.draws())
    results["learnt in forward"] = not same(initial, buffers(trainer))
    for batch in batches[:3]:
        trainer._step(batch)
    trainer.save()
    for batch in batches[3:]:
        trainer._step(batch)
    results["learnt"] = state(trainer)
    again = Trainer(small("diffusion"), folder / "learnt", resume=True, quiet=True)
    again.model.train()
    for batch in batches[3:]:
        again._step(batch)
    results["learnt again"] = state(again)


def buffers(trainer):
    return {name: value.clone() for name, value in trainer.model.named_buffers()}


def loader_of(trainer):
    from corekit.data.loading import Loader

    ranks = {"rank": trainer.processes.rank, "world": trainer.processes.world}
    return Loader(trainer.dataset.split("train"), 6, seed=0, **ranks)


def unused(folder, results):
    """A parameter without a part in the loss: refused, or looked for."""
    tree = small("flow").model_dump()
    tree["model"]["bijector"] = {"type": "chain", "of": ["toy.idle", "linear"]}
    try:
        Trainer(run_spec(tree), folder / "unused", quiet=True).fit()
    except UsageError as error:
        results["unused"] = str(error)
    tree["train"]["find_unused"] = True
    trainer = Trainer(run_spec(tree), folder / "found", quiet=True)
    trainer.fit()
    results["found unused"] = state(trainer)


def stopped(folder, results):
    """Only one process hears the signal; both stop after the same step, and go on.

    Activations are computed again, which changes no bit.
    """
    spec = small("latent", activation_checkpointing=True)
    trainer = Trainer(spec, folder / "stopped", quiet=True)
    take = trainer._step

    def stopping(batch):
        if trainer.step == 5 and trainer.processes.rank == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        return take(batch)

    trainer._step = stopping
    results["reason"] = trainer.fit()
    results["stopped at"] = trainer.saved_step
    again = Trainer(spec, folder / "stopped", resume=True, quiet=True)
    results["resumed at"] = again.step
    again.fit()
    results["resumed"] = state(again)


def shared(folder, results):
    """Sampling and evaluation, split; and what happens when one is told to stop."""
    processes = Processes()
    model = load(folder / "flow")
    drawn = []
    sample = model.sample
    model.sample = lambda n, **options: drawn.append(n) or sample(n, **options)
    results["samples"] = generate(model, 150, seed=3, share=Share(processes))
    results["drawn here"] = sum(drawn)
    model.sample = sample
    spec = small("flow")
    results["evaluation"] = evaluate(model, spec, share=Share(processes))
    stop = Stop()
    stop.reason = "preempted" if processes.rank == 1 else None
    try:
        generate(model, 150, seed=3, share=Share(processes, stop))
    except Stopped as error:
        results["told"] = error.reason


def talk(folder, results):
    processes = Processes()
    rank = processes.rank
    rows = torch.arange(2 + rank) + 10 * rank  # two rows and three
    results["uneven"] = processes.gather_rows(rows)
    results["mean"] = processes.mean({"a": 1.0 + rank})
    heard = [processes.greatest_so_far(number) for number in (0, rank, 0)]
    results["heard"] = [*heard, processes.settle()]
    try:
        processes.from_main(refuse)
    except UsageError as error:
        results["refused"] = str(error), getattr(error, "told", False)


def refuse():
    raise UsageError("no")


def main():
    folder = Path(sys.argv[1])
    results = {}
    with offered():
        for work in (trained, gradients, noise, learnt, unused, stopped, shared, talk):
            work(folder, results)
    torch.save(results, folder / f"rank{os.environ['RANK']}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
