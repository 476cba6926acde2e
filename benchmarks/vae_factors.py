"""Whether single latents stand for single factors: the beta-TC-VAE beside the plain one.

python benchmarks/vae_factors.py FOLDER [--steps 1500] [--seeds 3] [--beta 6]

On shapes32: convolutions of 8, 16 and 32 channels, 10 latents, a Gaussian likelihood of scale 0.2,
Adam at 1e-3, batches of 64 of the pictures that corekit draws; MIG and the FactorVAE score of the
2,000 test pictures. Runs are kept in FOLDER and not trained again.
"""

import argparse
import statistics
from pathlib import Path

import torch
from diffusion import train

from corekit.checkpoint import load
from corekit.spec import load_spec
from corekit.train.evaluation import evaluate


def main() -> None:
    """Train what is not there yet, and print the table."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder")
    arguments.add_argument("--steps", type=int, default=1500)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--beta", type=float, default=6.0)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    losses = {"plain": "vae.elbo", "beta-TC": {"type": "vae.beta_tc", "beta": given.beta}}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in losses}
    for seed in range(given.seeds):
        for name, loss in losses.items():
            run = train(Path(given.folder), f"{name}-{seed}", _spec(loss, given.steps, seed))
            for figure, value in _figures(run).items():
                found[name].setdefault(figure, []).append(value)
    for name, figures in found.items():
        print(name)
        for figure, values in figures.items():
            each = [round(value, 3) for value in values]
            mean = statistics.mean(values)
            print(f"  {figure:10s} {mean:.3f} +- {_error(values):.3f}  {each}")
    plain, ours = (found[name]["mig"] for name in losses)
    apart = [b - a for a, b in zip(plain, ours, strict=True)]
    print(f"paired difference of MIG {statistics.mean(apart):+.3f} +- {_error(apart):.3f}")


def _spec(loss: object, steps: int, seed: int) -> dict[str, object]:
    widths = [8, 16, 32]
    likelihood = {"type": "vae.gaussian", "scale": 0.2}
    model = {
        "type": "latent",
        "encoder": {"type": "vae.conv", "widths": widths, "latent_dim": 10},
        "prior": "normal",
        "decoder": {"type": "vae.conv", "widths": widths, "likelihood": likelihood},
        "loss": loss,
    }
    training = {
        "steps": steps,
        "batch_size": 64,
        "seed": seed,
        "channels_last": True,
        "optimizer": {"type": "adam", "lr": 1e-3},
        "checkpoint_every": steps,
    }
    return {
        "model": model,
        "data": {"type": "shapes32", "factors": True, "labels": True},
        "train": training,
    }


def _figures(run: Path) -> dict[str, float]:
    spec = load_spec(str(run / "spec.yaml")).spec
    wanted = ["vae.disentanglement", "vae.latents"]
    figures = evaluate(load(run), spec, metrics=wanted)["figures"]
    short = {"mig": "mig", "factor_score": "FactorVAE", "active_units": "active", "kl": "kl"}
    return {
        short[f["name"].split("/")[-1]]: f["value"]
        for f in figures
        if f["name"].startswith("vae.") and f["name"].split("/")[-1] in short
    }


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
