"""What diffusion models learn here: bounds, samples in few steps, conditions, 2-D densities.

python benchmarks/diffusion.py bounds FILE FOLDER [--seeds 3] [--steps 5000] [--test 128]
python benchmarks/diffusion.py few FILE FOLDER [--samples 500]
python benchmarks/diffusion.py plane FOLDER [--steps 6000]
python benchmarks/diffusion.py colours FILE FOLDER [--steps 3000]

`bounds`: one U-Net on the digits of FILE (arrays `x` uint8 (N, 28, 28) and `y`), cosine schedule
of 1000 steps, trained by the bound with importance-sampled steps, by the hybrid loss and by the
squared error: bits per dimension of the same test digits with the same noise. `few`: FID, over
features of a classifier trained here, of samples in 25 steps and in 250 by a net of the squared
error of v. `plane`: the likelihood of the moons by the ODE. `colours`: classes, guidance and
super-resolution on small colour pictures. Runs are kept in FOLDER and not trained again.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corekit.build import build_dataset, component
from corekit.checkpoint import load
from corekit.cli.main import main as corekit
from corekit.data.loading import fixed_batches
from corekit.interfaces.draws import RowDraws
from corekit.spec import load_spec, spec_class

NET = {
    "type": "ddpm.unet",
    "channels": 16,
    "multipliers": [1, 2, 2],
    "blocks": 1,
    "attention": [4],
    "heads": 2,
    "resample": "average",
}
LOSSES: dict[str, dict[str, Any]] = {
    "vlb": {"loss": "ddpm.rescaled_kl", "timesteps": "ddpm.loss_second_moment", "learned": True},
    "hybrid": {"loss": "ddpm.hybrid", "learned": True},
    "mse": {"loss": "ddpm.mse", "learned": False},
}


def main() -> None:
    """One of the four."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", choices=("bounds", "few", "plane", "colours"))
    arguments.add_argument("paths", nargs="+")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--first-seed", type=int, default=0)
    arguments.add_argument("--steps", type=int)
    arguments.add_argument("--test", type=int, default=128)
    arguments.add_argument("--samples", type=int, default=500)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    *files, folder = given.paths
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    if given.what == "bounds":
        _bounds(Path(files[0]), Path(folder), seeds, given.steps or 5000, given.test)
    elif given.what == "few":
        _few(Path(files[0]), Path(folder), seeds, given.steps or 10000, given.samples)
    elif given.what == "plane":
        _plane(Path(folder), given.steps or 6000)
    else:
        _colours(Path(files[0]), Path(folder), given.steps or 3000)


def train(folder: Path, name: str, spec: dict[str, Any]) -> Path:
    """A run, trained unless it is there; its folder."""
    run = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if not run.exists():
        file = folder / f"{name}.yaml"
        file.write_text(json.dumps({"version": 1, **spec}))
        if corekit(["train", str(file), "--run", str(run), "--quiet"]) != 0:
            raise SystemExit(f"{name} failed")
    return run


def _digits(file: Path) -> dict[str, Any]:
    """The digits: a tenth of them for validation, and a tenth to test."""
    return {"type": "arrays", "path": str(file.resolve()), "array": "x", "held_out": 0.1}


def _run(file: Path, folder: Path, kind: str, seed: int, steps: int) -> Path:
    how = LOSSES[kind]
    variance = {"variance": "range"} if how["learned"] else {}
    model = {
        "type": "diffusion",
        "denoiser": {**NET, **variance, "channels": 8},
        "schedule": {"type": "ddpm.cosine", "steps": 1000},
        "loss": how["loss"],
        "timesteps": how.get("timesteps", "uniform"),
    }
    training = {
        "steps": steps,
        "batch_size": 16,
        "seed": seed,
        "device": "cpu",
        "optimizer": {"type": "adam", "lr": 1e-3},
        "lr_schedule": {"type": "cosine", "end": steps},
        "ema": 0.999,
        "grad_clip": 1,
    }
    spec = {"model": model, "data": _digits(file), "train": training}
    return train(folder, f"{kind}-{seed}", spec)


def _bounds(file: Path, folder: Path, seeds: range, steps: int, test: int) -> None:
    found: dict[str, list[Tensor]] = {}
    for seed in seeds:
        for kind in LOSSES:
            run = _run(file, folder, kind, seed, steps)
            for variance in ("small", "large") if kind == "mse" else ("small",):
                bits = _bits(run, variance, test)
                name = f"{kind}, {variance} variance" if kind == "mse" else kind
                found.setdefault(name, []).append(bits)
                half = 1.96 * bits.std().item() / math.sqrt(len(bits))
                print(f"seed {seed} {name:22} {bits.mean():.4f} +- {half:.4f}", flush=True)
        _gradient_noise(_run(file, folder, "vlb", seed, steps), seed)
    best = min((n for n in found if n.startswith("mse")), key=lambda n: float(_mean(found[n])))
    for low, high in (("vlb", "hybrid"), ("hybrid", best)):
        apart = torch.stack(found[high]) - torch.stack(found[low])  # (seeds, examples)
        by_seed = apart.mean(1)
        over_rows = apart.mean(0).std().item() / math.sqrt(apart.shape[1])
        over_seeds = by_seed.std().item() / math.sqrt(len(by_seed)) if len(by_seed) > 1 else 0.0
        print(
            f"{high} - {low}: {apart.mean():.4f}, standard error over digits {over_rows:.4f}, over "
            f"seeds {over_seeds:.4f}"
        )


def _mean(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).mean()


def _bits(run: Path, variance: str, test: int) -> Tensor:
    """The bound of the first test digits, every term of it, with noise of each digit's own."""
    model = load(run)
    model.density.fixed_variance = variance
    dataset = build_dataset(load_spec(str(run / "spec.yaml")).spec)
    found = []
    with model.frozen():
        for batch in fixed_batches(dataset.split("test"), 0, 64, range(test)):
            found.append(model.density.bound(batch.x, generator=RowDraws(0, batch.rows)).total)
    return torch.cat(found).double()


def _gradient_noise(run: Path, seed: int, batches: int = 60) -> None:
    """Variance of the gradient of the bound over its squared mean, with both ways to draw steps."""
    from corekit.diffusion.timesteps import Uniform

    model = load(run, ema=False)
    dataset = build_dataset(load_spec(str(run / "spec.yaml")).spec)
    density, learned = model.density, model.density.timesteps
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    examples = dataset.split("train")
    ratios = {}
    for name, timesteps in (("importance", learned), ("uniform", Uniform())):
        density.timesteps = timesteps
        rng = np.random.default_rng(seed)
        total, squares = 0.0, 0.0
        for number in range(batches):
            rows = rng.integers(0, len(examples), 32).tolist()
            batch = next(fixed_batches(examples, 0, 32, rows))
            generator = torch.Generator().manual_seed(1000 * seed + number)
            model.zero_grad()
            model(batch, draws=generator).total.mean().backward()
            gradient = torch.cat([p.grad.flatten().double() for p in model.parameters()])
            total, squares = total + gradient, squares + gradient.square().sum().item()
        mean = total / batches
        spread = (squares - batches * mean.square().sum().item()) / (batches - 1)
        signal = mean.square().sum().item() - spread / batches
        ratios[name] = spread
        print(f"seed {seed} {name:10} variance {spread:.3g}, squared mean {signal:.3g}")
    print(
        f"seed {seed} importance sampling divides the variance by "
        f"{ratios['uniform'] / ratios['importance']:.1f}",
        flush=True,
    )


class Classifier(nn.Module):
    """Digits to 64 features, and to classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(into, out, 3, stride=2, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.features = nn.Linear(256, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """The features."""
        return self.features(self.body(x))


def _classifier(file: Path, folder: Path) -> Path:
    """A classifier trained on the training digits, exported; the file."""
    path = folder / "classifier.pt2"
    if path.exists():
        return path
    torch.manual_seed(0)
    dataset = component(
        "dataset", spec_class("dataset", "arrays").model_validate({**_digits(file), "labels": "y"})
    )
    (x, y), (x_test, y_test) = (
        (torch.cat([b.x for b in batches]), torch.cat([b.condition.labels for b in batches]))
        for batches in (
            list(fixed_batches(dataset.split(name), 0, 500)) for name in ("train", "test")
        )
    )
    net = Classifier()
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(8 * len(x) // 128):
        rows = torch.randint(len(x), (128,))
        shift = torch.randint(-2, 3, (2,)).tolist()
        optimizer.zero_grad()
        scores = net.head(torch.relu(net(x[rows].roll(shift, (2, 3)))))
        nn.functional.cross_entropy(scores, y[rows]).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        right = (net.head(torch.relu(net(x_test))).argmax(1) == y_test).double().mean()
    print(f"classifier: {100 * right:.1f} % of the test digits")
    batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(net, (x[:2],), dynamic_shapes=batch), path)
    return path


def _few(file: Path, folder: Path, seeds: range, steps: int, samples: int) -> None:
    from corekit.diffusion.dpm_solver import DpmSolver
    from corekit.diffusion.samplers import Ancestral, Ddim
    from corekit.metrics.features import Features
    from corekit.metrics.frechet import frechet_distance
    from corekit.train.sampling import generate

    net = {
        "type": "diffusion",
        "denoiser": {**NET, "predicts": "v"},
        "schedule": {"type": "ddpm.cosine", "steps": 1000},
        "loss": {"type": "ddpm.mse", "target": "v"},
        "clip": "static",
    }
    training = {
        "steps": steps,
        "batch_size": 16,
        "device": "cpu",
        "optimizer": {"type": "adam", "lr": 2e-3},
        "lr_schedule": {"type": "cosine", "end": steps},
        "ema": 0.999,
        "grad_clip": 1,
    }
    run = train(folder, "v", {"model": net, "data": _digits(file), "train": training})
    features = Features(str(_classifier(file, folder)))
    model = load(run)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    dataset = build_dataset(load_spec(str(run / "spec.yaml")).spec)
    test, seen = (
        features(torch.cat([b.x for b in fixed_batches(dataset.split(name), 0, 500)]))
        for name in ("test", "train")
    )
    size = min(samples, len(test))
    rng = np.random.default_rng(0)
    floors = [
        frechet_distance(test, seen[rng.choice(len(seen), size, replace=False)]) for _ in range(10)
    ]
    print(f"FID of {size} training digits against the test digits: {_told(floors)}")
    for name, sampler in (
        ("ancestral, 250 steps", Ancestral(steps=250)),
        ("ancestral, 25 steps", Ancestral(steps=25)),
        ("ddim, 25 steps", Ddim(steps=25)),
        ("dpm_solver, 25 steps", DpmSolver(steps=25)),
    ):
        found = [
            frechet_distance(test, features(generate(model, samples, seed, sampler=sampler)))
            for seed in seeds
        ]
        print(f"{name:22} FID {_told(found)}", flush=True)


def _told(values: list[float]) -> str:
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.2f} +- {error:.2f} ({', '.join(f'{v:.2f}' for v in values)})"


def _plane(folder: Path, steps: int) -> None:
    nets = {
        "rectified": ("velocity", "ddpm.rectified", "ddpm.velocity", "uniform"),
        "ddpm": (
            "v",
            {"type": "ddpm.cosine", "steps": 1000},
            {"type": "ddpm.mse", "target": "v"},
            "uniform",
        ),
    }
    for name, (predicts, schedule, loss, timesteps) in nets.items():
        model = {
            "type": "diffusion",
            "denoiser": {"type": "ddpm.mlp", "hidden": 128, "depth": 4, "predicts": predicts},
            "schedule": schedule,
            "loss": loss,
            "timesteps": timesteps,
        }
        data = {"type": "toy2d", "density": "moons", "fresh": True}
        training = {
            "steps": steps,
            "batch_size": 512,
            "device": "cpu",
            "optimizer": {"type": "adam", "lr": 2e-3},
            "lr_schedule": {"type": "cosine", "end": steps},
            "ema": 0.999,
        }
        run = train(folder, f"moons-{name}", {"model": model, "data": data, "train": training})
        corekit(["evaluate", str(run), "--ode", "100"])


def _colours(file: Path, folder: Path, steps: int) -> None:
    net = {**NET, "channels": 24, "attention": [4], "resample": "convolution"}
    plain = {"type": "arrays", "path": str(file.resolve()), "array": "x"}
    classes = {**plain, "labels": "y"}
    kinds = {
        "unconditional": (net, plain, {}),
        "classes": ({**net, "classes": 10}, classes, {"drop_condition": 0.1, "guidance": 1.0}),
        "low_res": (net, {"type": "low_res", "factor": 2, "of": plain}, {}),
    }
    for name, (denoiser, data, more) in kinds.items():
        model = {
            "type": "diffusion",
            "denoiser": {**denoiser, "predicts": "v"},
            "schedule": {"type": "ddpm.cosine", "steps": 1000},
            "loss": {"type": "ddpm.mse", "target": "v"},
            "sampler": {"type": "dpm_solver", "steps": 25},
            "clip": "static",
            **more,
        }
        training = {
            "steps": steps,
            "batch_size": 16,
            "device": "cpu",
            "optimizer": {"type": "adam", "lr": 1e-3},
            "lr_schedule": {"type": "cosine", "end": steps},
            "ema": 0.999,
            "grad_clip": 1,
        }
        run = train(folder, name, {"model": model, "data": data, "train": training})
        corekit(["evaluate", str(run), "--num", "1"])
        corekit(["sample", str(run), "--num", "32", "--out", str(folder / f"{name}-samples")])


if __name__ == "__main__":
    main()
