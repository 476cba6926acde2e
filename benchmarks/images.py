"""RealNVP on small images of two bits, beside a Gaussian of full covariance on the same numbers.

python benchmarks/images.py CIFAR10_SMALL.npz [--run FOLDER] [--steps 2000] [--device auto]

The file holds x_train and x_test, uint8 (N, H, W, 3). Trains with 32 filters and 2 blocks, batches
of 64, one thread; goes on from the last checkpoint if the folder has one. Prints the mean loss of
each 200 steps, and bits per dimension of the test images with noise that belongs to each. The
Gaussian is given the shrinkage that suits the test images best, which flatters it.
"""

import argparse
import math
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from corekit.build import build_dataset
from corekit.checkpoint import load_model
from corekit.interfaces.draws import RowDraws
from corekit.spec import RunSpec, run_spec
from corekit.train.evaluation import evaluate
from corekit.train.run_folder import RunFolder
from corekit.train.trainer import Trainer

WINDOW = 200
SHRINKAGE = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
COPIES = 4
"""Draws of noise for each training image that the covariance is made of."""


def spec_of(path: str, steps: int, device: str) -> RunSpec:
    """The layout of the original, smaller."""
    flow = {"type": "realnvp.image", "filters": 32, "blocks": 2}
    return run_spec(
        {
            "version": 1,
            "model": {
                "type": "flow",
                "dequantize": "realnvp.uniform_dequantize",
                "bijector": {"type": "chain", "of": [{"type": "logit", "alpha": 0.05}, flow]},
            },
            "data": {"type": "arrays", "path": path, "bits": 2, "held_out": 0.01},
            "train": {
                "steps": steps,
                "batch_size": 64,
                "optimizer": {"type": "adam", "lr": 5e-4},
                "lr_schedule": {"type": "constant", "warmup_steps": 200},
                "log_every": 1,
                "checkpoint_every": 100,
                "device": device,
            },
            "metrics": ["bits_per_dim"],
        }
    )


def main() -> None:
    """Train, then print the windows of the loss, and both models' bits per dimension."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("path")
    arguments.add_argument("--run", default="runs/images", type=Path)
    arguments.add_argument("--steps", default=2000, type=int)
    arguments.add_argument("--device", default="cpu")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    spec = spec_of(given.path, given.steps, given.device)
    resume = (given.run / "checkpoints").is_dir() and any((given.run / "checkpoints").iterdir())
    started = time.monotonic()
    Trainer(spec, given.run, resume=resume, quiet=True).fit()
    print(f"trained in {time.monotonic() - started:.0f} s (of this call)")
    windows(given.run)
    model, _, _ = load_model(given.run, ema=False)
    with torch.no_grad():
        found = evaluate(model, spec, split="test")
    for row in found["figures"]:
        print(f"{row['name']:30} {row['value']:10.4f} {row['unit']}  {dict(row['protocol'])}")
    print(f"Gaussian of full covariance    {gaussian(spec, model):10.4f} bits per dimension")


def windows(run: Path) -> None:
    """The mean of the loss over each 200 steps, and its rise in standard errors."""
    losses = [r["bits_per_dim"] for r in RunFolder(run).records() if "bits_per_dim" in r]
    if not all(map(math.isfinite, losses)):
        raise SystemExit("a loss is not finite")
    before: tuple[float, float] | None = None
    for start in range(0, len(losses) - WINDOW + 1, WINDOW):
        part = losses[start : start + WINDOW]
        mean, error = statistics.fmean(part), statistics.stdev(part) / math.sqrt(WINDOW)
        rise = "" if before is None else f"{(mean - before[0]) / math.hypot(error, before[1]):+.1f}"
        print(f"steps {start + 1:5} - {start + WINDOW:5}: {mean:.4f} +- {error:.4f}  {rise}")
        before = mean, error


def gaussian(spec: RunSpec, model: torch.nn.Module) -> float:
    """Bits per dimension of the test images under a Gaussian of the logits of the training ones."""
    dataset = build_dataset(spec)
    logit, noise = model.density.bijector[0], model.dequantize

    def logits(split: str, seed: int) -> tuple[Tensor, Tensor]:
        rows = dataset.split(split)
        batch = rows.get_batch(range(len(rows)))
        z, weight = noise(batch.x.double(), generator=RowDraws(seed, range(len(rows))))
        y, logdet = logit(z)
        return y.flatten(1), logdet + weight.value

    train = torch.cat([logits("train", seed)[0] for seed in range(1, COPIES + 1)])
    test, known = logits("test", 0)
    mean, dims = train.mean(0), train.shape[1]
    covariance = (train - mean).T @ (train - mean) / len(train)
    eye = covariance.trace() / dims * torch.eye(dims, dtype=torch.float64)
    best = math.inf
    for share in SHRINKAGE:
        mixed = (1 - share) * covariance + share * eye
        law = torch.distributions.MultivariateNormal(mean, mixed, validate_args=False)
        nats = law.log_prob(test) + known
        best = min(best, (-nats / (dims * math.log(2))).mean().item())
    return best


if __name__ == "__main__":
    main()
