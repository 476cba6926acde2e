"""How well flows fit: densities of known entropy, tables, image patches; beside other libraries.

python benchmarks/density.py plane [--seeds 3] [--steps 2000]       # entropies are known
python benchmarks/density.py tables FILE.npz [--names protein ...]  # arrays (rows, columns)
                                     # [--best]: the best of ten moments on rows of their own
python benchmarks/density.py patches FILE.npz [--steps 20000] [--hidden 256] [--layers 5]

Every library trains the same flow (`flow_peers`) on the same batches with the same optimizer,
clipping and learning rates; one thread. A library that is not installed is left out.
"""

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from importlib.util import find_spec

import flow_peers
import numpy as np
import torch
from torch import Tensor

from corekit.data.densities2d import DENSITIES

MAKERS = {**flow_peers.LIBRARIES, "corekit-residual": flow_peers.corekit_residual}
BATCH = 512
PLANE = ("moons", "smiley", "checkerboard")
TABLES = ("protein", "kin40k", "pumadyn32nm", "parkinsons", "elevators")
JITTER = 0.02  # of standardised columns: some hold few different numbers


def main() -> None:
    """Train and print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", choices=("plane", "tables", "patches"))
    arguments.add_argument("file", nargs="?")
    arguments.add_argument("--names", nargs="+")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=2000)
    arguments.add_argument("--hidden", type=int, default=64)
    arguments.add_argument("--layers", type=int, default=4)
    arguments.add_argument("--lr", type=float, default=2e-3)
    arguments.add_argument("--symmetries", type=int, default=8, choices=(1, 2, 8))
    arguments.add_argument("--library", nargs="+")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--best", action="store_true")
    given = arguments.parse_args()
    warnings.simplefilter("ignore")  # of the other libraries
    torch.set_num_threads(given.threads)
    flow_peers.HIDDEN = given.hidden
    flow_peers.LAYERS["NSF coupling"] = given.layers
    if given.what == "plane":
        for name in given.names or PLANE:
            _table(name, given, lambda seed, name=name: _plane(name, seed))
    elif given.what == "tables":
        with np.load(given.file) as archive:
            arrays = {name: archive[name] for name in given.names or TABLES}
        share = 5 if given.best else 10
        for name, array in arrays.items():
            _table(name, given, lambda seed, array=array: _rows(array, seed, share))
    else:
        _patches(given)


def _libraries(given: argparse.Namespace) -> list[str]:
    named = given.library or [name for name in flow_peers.LIBRARIES if name != "FrEIA"]
    return [name for name in named if name.startswith("corekit") or find_spec(name)]


def _table(
    name: str,
    given: argparse.Namespace,
    data: Callable[[int], tuple[Callable[[int], Tensor], Tensor, float]],
) -> None:
    """Print held-out nats of each library: mean and standard error over seeds."""
    for library in _libraries(given):
        scores, start = [], time.process_time()
        for seed in range(given.seeds):
            batch, test, zero = data(seed)
            torch.manual_seed(seed)
            flow = MAKERS[library]("NSF coupling", test.shape[1])
            if given.best:  # tables of few rows are learned by heart
                valid, test = test.chunk(2)
                _best(flow, batch, given, partial(_score, x=valid), f"{library}, seed {seed}")
            else:
                _train(flow, batch, given)
            scores.append(_score(flow, test) - zero)
        error = statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan
        size = sum(p.numel() for p in flow.module.parameters())
        print(
            f"| {name} | {library} | {statistics.fmean(scores):.4f} +- {error:.4f} | {size:,} "
            f"| {time.process_time() - start:.0f} s |",
            flush=True,
        )


def _train(
    flow: flow_peers.Flow,
    batch: Callable[[int], Tensor],
    given: argparse.Namespace,
    after: Callable[[int], None] = lambda step: None,
) -> None:
    optimizer = torch.optim.Adam(flow.module.parameters(), given.lr, fused=True)
    for step in range(given.steps):
        decay = 0.5 * (1 + math.cos(math.pi * step / given.steps))
        rate = given.lr * min(1, (step + 1) / 100) * decay
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        (-flow.log_prob(batch(step)).mean()).backward()
        torch.nn.utils.clip_grad_norm_(flow.module.parameters(), 5.0)
        optimizer.step()
        after(step + 1)


@torch.no_grad()
def _score(flow: flow_peers.Flow, x: Tensor) -> float:
    """Mean log-density, nats."""
    return torch.cat([flow.log_prob(part).double() for part in x.split(500)]).mean().item()


def _plane(name: str, seed: int) -> tuple[Callable[[int], Tensor], Tensor, float]:
    """Fresh points at each step; 20,000 others, and their own mean log-density."""
    draw, log_density = DENSITIES[name]
    test = torch.from_numpy(draw(np.random.default_rng(10_000 + seed), 20_000, 1.0))
    truth = torch.cat([log_density(part, 1.0) for part in test.split(4000)]).mean().item()

    def batch(step: int) -> Tensor:
        rng = np.random.default_rng((seed, step))
        return torch.from_numpy(draw(rng, BATCH, 1.0)).float()

    return batch, test.float(), truth


def _rows(
    array: np.ndarray, seed: int, share: int
) -> tuple[Callable[[int], Tensor], Tensor, float]:
    """Rows of a table, standardised by the training rows, with noise; 1 of ``share`` held out."""
    rng = np.random.default_rng(seed)
    rows = array.astype(np.float64)[rng.permutation(len(array))]
    rows = rows[:, rows.std(0) > 0]
    held_out = len(rows) // share
    test, train = rows[:held_out], rows[held_out:]
    mean, std = train.mean(0), train.std(0)
    noise = np.random.default_rng(seed + 1)
    test = (test - mean) / std + JITTER * noise.standard_normal(test.shape)
    train = torch.from_numpy((train - mean) / std).float()

    def batch(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        x = train[torch.randint(len(train), (BATCH,), generator=generator)]
        return x + JITTER * torch.randn(x.shape, generator=generator)

    return batch, torch.from_numpy(test).float(), 0.0


def _patches(given: argparse.Namespace) -> None:
    """8 x 8 patches with uniform noise, their mean taken off, 63 numbers.

    There are few of them, so each batch is turned into one of the ``symmetries`` of a square: left
    and right exchanged, or that and all rotations.
    Of ten moments of training, the one that is best on the validation patches is tested, on all
    test patches. Minutes are those of training and validation.
    """
    flow_peers.LAYERS["NSF autoregressive"] = given.layers
    with np.load(given.file) as archive:
        train, valid, test = (archive[name] for name in ("train", "valid", "test"))

    def prepared(patches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        x = (patches.reshape(len(patches), 64) + rng.random((len(patches), 64))) / 256
        return (x - x.mean(1, keepdims=True))[:, :63]

    sample = prepared(train, np.random.default_rng(0))
    mean, std = sample.mean(0), sample.std(0)
    logdet = -np.log(std).sum()

    def standard(patches: np.ndarray, *seed: int) -> Tensor:
        x = prepared(patches, np.random.default_rng(seed))
        return torch.from_numpy((x - mean) / std).float()

    def batch(step: int) -> Tensor:
        rows = np.random.default_rng((2, step)).integers(len(train), size=256)
        return standard(_turned(train[rows], step % given.symmetries), 3, step)

    chosen, held_out = standard(valid, 4), standard(test, 5)

    def score(flow: flow_peers.Flow, x: Tensor) -> float:
        return _score(flow, x) + logdet

    for library in _libraries(given):
        torch.manual_seed(0)
        flow = flow_peers.LIBRARIES[library]("NSF autoregressive", 63)
        best, minutes = _best(flow, batch, given, lambda flow: score(flow, chosen), library)
        size = sum(p.numel() for p in flow.module.parameters())
        print(
            f"| patches | {library} | {score(flow, held_out):.2f} | {best:.2f} | {size:,} "
            f"| {minutes:.1f} min |",
            flush=True,
        )


def _turned(patches: np.ndarray, how: int) -> np.ndarray:
    turned = patches[:, :, ::-1] if how % 2 else patches
    return np.rot90(turned, how // 2, axes=(1, 2))


def _best(
    flow: flow_peers.Flow,
    batch: Callable[[int], Tensor],
    given: argparse.Namespace,
    score: Callable[[flow_peers.Flow], float],
    name: str,
) -> tuple[float, float]:
    """Train, and go back to the best of ten moments: its score, and the minutes of it all."""
    start, best, weights = time.monotonic(), -math.inf, {}

    def after(step: int) -> None:
        nonlocal best, weights
        if step % (given.steps // 10) == 0:
            nats = score(flow)
            print(f"{name}: step {step}, {(time.monotonic() - start) / 60:.1f} min, {nats:.2f}")
            if nats > best:
                best, weights = nats, deepcopy(flow.module.state_dict())

    _train(flow, batch, given, after)
    flow.module.load_state_dict(weights)
    return best, (time.monotonic() - start) / 60


if __name__ == "__main__":
    main()
