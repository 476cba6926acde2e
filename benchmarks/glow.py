"""Glow: a training step, sampling, memory and the first steps of learning, beside the ports.

python benchmarks/glow.py time [--hidden 128 512] [--rounds 5]
python benchmarks/glow.py learn FILE.npz [--hidden 64] [--steps 120] [--seeds 3]

The ports are their arithmetic written anew (`glow_ports`). CPU time on one thread, in turn: 3
levels of 8 steps, pictures of 32 x 32 x 3, batches of 16. FILE.npz has the arrays `x_train` and
`x_test`, (n, 32, 32, 3) uint8.
"""

import argparse
import math
import statistics
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from corekit_glow.flow import Glow
from glow_ports import PortedGlow
from interleave import interleaved
from torch import Tensor, nn

from corekit.nn.recompute import recompute_activations

SHAPE, BATCH, LEVELS, STEPS = (3, 32, 32), 16, 3, 8
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Ours(nn.Module):
    """Glow with the calls of a port."""

    def __init__(self, hidden: int, steps: int = STEPS, **options: object) -> None:
        super().__init__()
        self.flow = Glow(SHAPE, levels=LEVELS, steps=steps, hidden=hidden, **options)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), nats."""
        z, logdet = self.flow(x)
        return logdet - 0.5 * z.square().sum(1) - z.shape[1] * HALF_LOG_2PI

    def sample(self, n: int) -> Tensor:
        """Draw."""
        return self.flow.inverse(torch.randn(n, math.prod(SHAPE)))[0]


def main() -> None:
    """Time or learn."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", choices=("time", "learn"))
    arguments.add_argument("file", nargs="?")
    arguments.add_argument("--hidden", type=int, nargs="+")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=120)
    arguments.add_argument("--seeds", type=int, default=3)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    if given.what == "time":
        for hidden in given.hidden or (128, 512):
            _time(hidden, given.rounds)
    else:
        _learn(given.file, (given.hidden or [64])[0], given.steps, given.seeds)


def _models(hidden: int) -> dict[str, nn.Module]:
    last = {"memory_format": torch.channels_last}
    models = {
        "port, plain": PortedGlow(SHAPE, LEVELS, STEPS, hidden, lu=False),
        "port, LU": PortedGlow(SHAPE, LEVELS, STEPS, hidden, lu=True),
        "corekit": Ours(hidden),
        "corekit, channels_last": Ours(hidden).to(**last),
        "corekit, bf16 nets, channels_last": Ours(hidden, net_dtype="bf16").to(**last),
        "corekit, checkpoint": Ours(hidden).to(**last),
    }
    recompute_activations(models["corekit, checkpoint"])
    x = torch.rand(64, *SHAPE)
    for model in models.values():
        if isinstance(model, Ours):
            model.flow.initialize(x)
        else:
            model.train().log_prob(x)
    return models


def _time(hidden: int, rounds: int) -> None:
    torch.manual_seed(0)
    models, x = _models(hidden), torch.rand(BATCH, *SHAPE)
    kept = {name: _saved(model, x) for name, model in models.items()}
    train = interleaved({n: _step(m, x) for n, m in models.items()}, rounds)
    fresh = interleaved({n: _sampling(m) for n, m in models.items()}, rounds)
    with ExitStack() as stack:  # as commands draw: what follows from weights alone is kept
        for model in models.values():
            if isinstance(model, Ours):
                stack.enter_context(model.flow.frozen())
        sample = interleaved({n: _sampling(m) for n, m in models.items()}, rounds)
    print(
        f"\n| hidden {hidden} | parameters | train | of the port | sample | of the port "
        "| sample, frozen | of the port | kept |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, model in models.items():
        size = sum(p.numel() for p in model.parameters()) / 1e6
        cells = []
        for times in (train, fresh, sample):
            cells += [f"{1000 * times[name]:.0f} ms", f"{times[name] / times['port, plain']:.2f}"]
        print(f"| {name} | {size:.2f} M | " + " | ".join(cells) + f" | {kept[name]:.1f} MiB |")


def _step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    def step() -> None:
        model.train().zero_grad()
        (-model.log_prob(x).mean()).backward()

    return step


def _sampling(model: nn.Module) -> Callable[[], None]:
    @torch.no_grad()
    def sample() -> None:
        model.eval().sample(BATCH)

    return sample


def _saved(model: nn.Module, x: Tensor) -> float:
    """What the forward pass keeps for the backward one beside weights, MiB."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = model.train().log_prob(x)
    del held
    return sum(kept.values()) / 2**20


def _learn(file: str, hidden: int, steps: int, seeds: int) -> None:
    """Bits per dimension after some steps of Adamax, the same pictures, order and noise for all."""
    with np.load(file) as archive:
        train, test = (
            torch.from_numpy(archive[f"x_{split}"]).permute(0, 3, 1, 2).float()
            for split in ("train", "test")
        )
    makers = {
        "y0ast's arithmetic": lambda: PortedGlow(SHAPE, LEVELS, STEPS, hidden, lu=True),
        "corekit": lambda: Ours(hidden),
    }
    print(f"| bits per dimension after {steps} steps, hidden {hidden} | train | test |")
    print("| --- | --- | --- |")
    for name, make in makers.items():
        scores = [_trained(make, train, test, steps, seed) for seed in range(seeds)]
        cells = [f"{statistics.fmean(s):.4f}" for s in zip(*scores, strict=True)]
        each = ", ".join(f"{s[1]:.4f}" for s in scores)
        print(f"| {name} | {' | '.join(cells)} ({each}) |", flush=True)


def _trained(
    make: Callable[[], nn.Module], train: Tensor, test: Tensor, steps: int, seed: int
) -> tuple[float, float]:
    torch.manual_seed(seed)
    model = make().train()
    generator = torch.Generator().manual_seed(seed)

    def noisy(x: Tensor, source: torch.Generator) -> Tensor:
        return (x + torch.rand(x.shape, generator=source)) / 256 - 0.5

    first = noisy(train[torch.randperm(len(train), generator=generator)[:256]], generator)
    if isinstance(model, Ours):
        model.flow.initialize(first)
    else:
        with torch.no_grad():
            model.log_prob(first)
    optimizer = torch.optim.Adamax(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 20))
    last = []
    for step in range(steps):
        rows = torch.randint(len(train), (BATCH,), generator=generator)
        loss = _bits(model, noisy(train[rows], generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step >= steps - 20:
            last.append(loss.item())
    with torch.no_grad():
        source = torch.Generator().manual_seed(0)
        held_out = [_bits(model.eval(), noisy(part, source)).item() for part in test.split(100)]
    return statistics.fmean(last), statistics.fmean(held_out)


def _bits(model: nn.Module, x: Tensor) -> Tensor:
    return 8 - model.log_prob(x).mean() / (math.prod(SHAPE) * math.log(2))


if __name__ == "__main__":
    main()
