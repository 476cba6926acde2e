"""Nats of latent models with one network: priors, posteriors and objectives beside each other.

python benchmarks/vae_likelihood.py digits FOLDER [--epochs 300] [--seeds 3] [--only normal flow]
python benchmarks/vae_likelihood.py mnist FILE.npz FOLDER [--epochs 20] [--seeds 1] [--only ...]

Digits of scikit-learn, 8 x 8, made black and white: training ones anew at each visit, the 360 test
ones once. Perceptrons 64-256-256-16 and back with SiLU, Adam at 1e-3 and half a cosine, batches of
128, the weight of the KL growing from 0 over 1,000 steps (all but IWAE's); -log p(x) by 1,000
importance samples, mean and standard deviation over seeds; paired differences to the normal prior
over the test images, averaged over seeds, with their standard error. `mnist` is the
same with 784-512-512-32 on the 10,000 images of FILE (x, uint8), 8,000 to train on and 1,000 to
test. Runs are kept in FOLDER and not trained again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusion import train

from corekit.build import build_dataset
from corekit.checkpoint import load
from corekit.data.loading import fixed_batches
from corekit.interfaces.draws import RowDraws
from corekit.latent.importance import importance_log_prob
from corekit.spec import load_spec

COUPLING = {"type": "realnvp.affine_coupling", "hidden": 128}
COUPLINGS = [COUPLING, {**COUPLING, "swap": True}]
FLOW = {"type": "flow", "bijector": {"type": "repeat", "times": 4, "of": COUPLINGS}}
MADE = {"type": "realnvp.made", "hidden": [128, 128]}
MASKED = {"type": "realnvp.autoregressive", "univariate": "affine", "net": MADE}
IAF = {"type": "repeat", "times": 2, "of": [MASKED, {"type": "permute", "order": "reverse"}]}
WARM = {"type": "vae.elbo", "kl_weight": {"start": 0.0, "end": 1.0, "steps": 1000}}
MODELS: dict[str, dict[str, Any]] = {
    "normal": {},
    "mixture prior": {"prior": {"type": "vae.mixture", "components": 50}},
    "vamp prior": {"prior": {"type": "vae.vamp", "pseudo_inputs": 50}},
    "flow prior": {"prior": FLOW},
    "full posterior": {"posterior": "vae.full_gaussian"},
    "iaf posterior": {"posterior": {"type": "vae.flow", "bijector": IAF, "context": 64}},
    "iwae 5": {"loss": {"type": "vae.iwae", "samples": 5}},
    "iwae 5, dreg": {"loss": {"type": "vae.iwae", "samples": 5, "estimator": "dreg"}},
    "miwae 4 x 4": {"loss": {"type": "vae.iwae", "samples": 4, "groups": 4}},
    "flow prior, iwae 5": {"prior": FLOW, "loss": {"type": "vae.iwae", "samples": 5}},
}


def main() -> None:
    """Train what is not there yet, and print the table."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", choices=("digits", "mnist"))
    arguments.add_argument("paths", nargs="+")
    arguments.add_argument("--epochs", type=int)
    arguments.add_argument("--seeds", type=int)
    arguments.add_argument("--only", nargs="+", default=list(MODELS))
    given = arguments.parse_args()
    torch.set_num_threads(1)
    digits = given.what == "digits"
    of: dict[str, Any] = {"type": "digits"}
    if not digits:
        path = str(Path(given.paths[0]).resolve())
        of = {"type": "arrays", "path": path, "array": "x", "held_out": 0.1}
    data = {"type": "binarized", "of": of, "seed": 1}
    epochs = given.epochs or (300 if digits else 20)
    steps = epochs * (1437 if digits else 8000) // 128
    seeds = given.seeds or (3 if digits else 1)
    print(f"{given.what}: {steps} steps of 128, seeds {seeds}")
    normal = None
    for name in given.only:
        nats, ess, seconds = [], [], 0.0
        for seed in range(seeds):
            spec = _spec(MODELS[name], data, digits, steps, seed)
            called = f"{given.what}-{name}-{seed}".replace(" ", "_")
            run = train(Path(given.paths[-1]), called, spec)
            found = _scored(run)
            nats.append(-found.log_p.value)
            ess.append(found.ess.mean().item())
            seconds += _seconds(run) / seeds
        each = torch.stack(nats)
        means = each.mean(1)
        if normal is None:
            normal = each.mean(0)
        apart = each.mean(0) - normal
        error = apart.std().item() / len(apart) ** 0.5
        print(
            f"{name:20s} {means.mean():8.3f} +- {means.std() if seeds > 1 else 0:.3f} nats   "
            f"to the first {apart.mean():+.3f} +- {error:.3f}   ess {sum(ess) / len(ess):6.1f}   "
            f"{seconds:5.0f} s   {[round(m, 3) for m in means.tolist()]}",
            flush=True,
        )


def _spec(
    how: dict[str, Any], data: dict[str, Any], digits: bool, steps: int, seed: int
) -> dict[str, Any]:
    hidden, latent = ([256, 256], 16) if digits else ([512, 512], 32)
    net = {"type": "vae.mlp", "hidden": hidden, "activation": "silu"}
    encoder = {**net, "latent_dim": latent}
    if "posterior" in how:
        encoder["posterior"] = how["posterior"]
    model = {
        "type": "latent",
        "encoder": encoder,
        "prior": how.get("prior", "normal"),
        "decoder": {**net, "likelihood": "vae.bernoulli"},
        "loss": how.get("loss", WARM),
    }
    training = {
        "steps": steps,
        "batch_size": 128,
        "seed": seed,
        "optimizer": {"type": "adam", "lr": 1e-3},
        "lr_schedule": {"type": "cosine", "end": steps},
        "log_every": steps // 10,
        "checkpoint_every": steps,
    }
    return {"model": model, "data": data, "train": training}


@torch.no_grad()
def _scored(run: Path) -> Any:
    """1,000 importance samples for each test image, with noise that belongs to it."""
    model, data = load(run), build_dataset(load_spec(str(run / "spec.yaml")).spec)
    parts = []
    for batch in fixed_batches(data.split("test"), 0, 200):
        draws = RowDraws(0, batch.rows)
        with model.frozen():
            parts.append(importance_log_prob(model, batch.x, samples=1000, generator=draws))
    return type(parts[0])(
        type(parts[0].log_p)(torch.cat([part.log_p.value for part in parts])),
        torch.cat([part.ess for part in parts]),
    )


def _seconds(run: Path) -> float:
    """How long training took, as the log has it; nan where it does not."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return max((line.get("seconds", float("nan")) for line in found), default=float("nan"))


if __name__ == "__main__":
    main()
