"""What models of point clouds learn here: sets of samples compared, few steps, pictures to shapes.

python benchmarks/pointcloud_learning.py compare FILE FOLDER [--steps 2000] [--sets 5]
python benchmarks/pointcloud_learning.py steps FILE FOLDER [--sets 5]
python benchmarks/pointcloud_learning.py pictures VIEWS FILE FOLDER [--steps 2500]

`compare`: on `ldraw-headwear` of FILE, 512 points, about equal CPU time: the FlowVAE of the
reference's size with its schedule (100 steps to 0.02), with ours (200 to 0.05), and the latter with
the set transformer as its denoiser. Sets of 58 samples against the 58 held-out shapes: 1-NNA,
coverage and MMD by Chamfer distance, bounding boxes normalised, with chance, ceiling and floor;
paired differences of ours and the reference's, of the set transformer's and ours. Auto-encoding
beside another draw of the same shape's points. `steps`: 20 steps of DDIM and 100 ancestral ones of
the second model. `pictures`: shapes of held-out pictures beside the training shape that is nearest
to all others of the class. Runs are kept in FOLDER and not trained again.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corekit_pointcloud_diffusion.comparison import OneNna
from diffusion import train
from torch import Tensor

from corekit.build import build_dataset
from corekit.checkpoint import load
from corekit.data.loading import fixed_batches
from corekit.data.point_clouds import shift_and_scale
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.metrics.distances import paired_chamfer, pairwise_chamfer
from corekit.metrics.permutation import paired_difference
from corekit.metrics.two_sample import TwoSample, two_sample
from corekit.report.save import save_pairs
from corekit.spec import load_spec
from corekit.train.conditions import of_examples
from corekit.train.reconstruction import reconstruct
from corekit.train.sampling import generate

POINTWISE = {"type": "pointcloud.pointwise", "residual": True, "time": "beta"}
MODELS: dict[str, tuple[dict[str, Any], int, float, float, float]] = {
    "ref": (POINTWISE, 100, 0.02, 2e-3, 1.0),
    "ours": (POINTWISE, 200, 0.05, 2e-3, 1.0),
    "set": ({"type": "pointcloud.set_transformer"}, 200, 0.05, 1e-3, 0.5),
}
"""Denoiser, levels, last beta, learning rate, and steps: as many as take the same CPU time."""


def main() -> None:
    """One of the three."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", choices=("compare", "steps", "pictures"))
    arguments.add_argument("paths", nargs="+")
    arguments.add_argument("--steps", type=int)
    arguments.add_argument("--sets", type=int, default=5)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    *files, folder = (Path(path).resolve() for path in given.paths)
    if given.what == "compare":
        _compare(files[0], folder, given.steps or 2000, given.sets)
    elif given.what == "steps":
        _steps(files[0], folder, given.steps or 2000, given.sets)
    else:
        _pictures(files[0], files[1], folder, given.steps or 2500)


def _run(file: Path, folder: Path, name: str, steps: int) -> Path:
    denoiser, levels, end, rate, share = MODELS[name]
    coupling = {"type": "realnvp.affine_coupling", "hidden": 256, "scale": "sigmoid2"}
    couplings = [{**coupling, "swap": True}, {**coupling, "swap": False}]
    schedule = {"type": "pointcloud.variance_schedule", "steps": levels, "beta_end": end}
    model = {
        "type": "latent",
        "encoder": {"type": "pointcloud.pointnet", "latent_dim": 256},
        "prior": {"type": "flow", "bijector": {"type": "repeat", "times": 7, "of": couplings}},
        "decoder": {
            "type": "diffusion",
            "denoiser": denoiser,
            "schedule": schedule,
            "loss": "ddpm.mse",
        },
        "loss": {"type": "weighted_elbo", "kl_weight": 1e-3, "kl": "monte_carlo"},
    }
    data = {
        "type": "pointcloud.hdf5",
        "path": str(file),
        "categories": ["ldraw-headwear"],
        "points": 512,
    }
    return train(
        folder,
        name,
        {"model": model, "data": data, "train": _training(round(share * steps), 16, rate)},
    )


def _training(steps: int, batch_size: int, rate: float) -> dict[str, Any]:
    decay = {"type": "linear_decay", "start": min(1000, steps // 2), "end": steps, "end_lr": 1e-4}
    return {
        "steps": steps,
        "batch_size": batch_size,
        "device": "cpu",
        "optimizer": {"type": "adam", "lr": rate},
        "lr_schedule": decay,
        "grad_clip": 10,
        "ema": 0.999,
    }


def _clouds(run: Path, split: str) -> Tensor:
    """The examples of a split, as the model sees them."""
    dataset = build_dataset(load_spec(str(run / "spec.yaml")).spec)
    return torch.cat([batch.x for batch in fixed_batches(dataset.split(split), 0, 64)])


def _boxed(clouds: Tensor) -> list[np.ndarray]:
    found = []
    for cloud in clouds.double().numpy():
        shift, scale = shift_and_scale(cloud, "shape_bbox")
        found.append((cloud - shift) / scale)
    return found


class Judge:
    """Compares sets of samples with the held-out shapes."""

    def __init__(self, run: Path) -> None:
        self.held_out = torch.cat([_clouds(run, "val"), _clouds(run, "test")])
        self.train = _clouds(run, "train")
        self.reference = _boxed(self.held_out)
        self.within = pairwise_chamfer(self.reference)

    def references(self, samples: Tensor) -> None:
        """Print chance, ceiling and floor, with the protocol."""
        for name, figure in OneNna()(samples, self.held_out, self.train).items():
            known = ", ".join(f"{key} {value:.4f}" for key, value in figure.references.items())
            print(f"{name}: {known}; {dict(figure.protocol)}", flush=True)

    def __call__(self, samples: Tensor) -> TwoSample:
        """The three figures."""
        boxed = _boxed(samples)
        across = pairwise_chamfer(self.reference, boxed)
        return two_sample(self.within, across, pairwise_chamfer(boxed))

    def sets(self, name: str, run: Path, sets: int, sampler: Any) -> list[TwoSample]:
        """Figures of so many sets of as many samples as there are held-out shapes."""
        model, found = load(run), []
        for seed in range(sets):
            samples = generate(model, len(self.reference), seed, sampler=sampler)
            if name == "ref" and not seed:
                self.references(samples)
            found.append(self(samples))
        for figure in ("one_nna", "coverage", "mmd"):
            values = [getattr(each, figure) for each in found]
            print(f"{name:14} {figure:9} {_told(values)}", flush=True)
        return found


def _told(values: list[float]) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return f"{np.mean(values):.4f} +- {error:.4f} ({', '.join(f'{v:.4f}' for v in values)})"


def _compare(file: Path, folder: Path, steps: int, sets: int) -> None:
    runs = {name: _run(file, folder, name, steps) for name in MODELS}
    judge, sampler = Judge(runs["ref"]), Ancestral(steps=100)
    found = {name: judge.sets(name, run, sets, sampler) for name, run in runs.items()}
    for first, second in (("ours", "ref"), ("set", "ours")):
        for figure, better in (("one_nna", "less"), ("coverage", "greater"), ("mmd", "less")):
            values = ([getattr(each, figure) for each in found[n]] for n in (first, second))
            apart = paired_difference(*values, alternative=better)
            print(
                f"{first} - {second} {figure:9} {apart.mean:.4f} +- {apart.standard_error:.4f}, "
                f"p {apart.p_value:.3f} ({better}): {'clear' if apart.clear() else 'not clear'}"
            )
    for name, run in runs.items():
        _auto_encoding(name, run)


def _auto_encoding(name: str, run: Path) -> None:
    """CD of reconstructions of the test shapes, of another draw of points, of another shape."""
    dataset = build_dataset(load_spec(str(run / "spec.yaml")).spec)
    originals, copies = reconstruct(load(run), dataset, "test", 0, sampler=Ancestral(steps=100))
    again = torch.cat([batch.x for batch in fixed_batches(dataset.split("test"), 1, 64)])
    own, oracle = paired_chamfer(copies, originals), paired_chamfer(again, originals)
    other = paired_chamfer(copies, originals.roll(1, 0))
    print(
        f"{name:14} auto-encoding CD {own.mean():.4f} (sd {own.std(ddof=1):.4f}), another draw "
        f"{oracle.mean():.4f}, another shape {other.mean():.4f}"
    )
    save_pairs(originals[:8], copies[:8], run / "reconstructions.png")


def _steps(file: Path, folder: Path, steps: int, sets: int) -> None:
    run = _run(file, folder, "ours", steps)
    judge = Judge(run)
    many = judge.sets("ancestral, 100", run, sets, Ancestral(steps=100))
    few = judge.sets("ddim, 20", run, sets, Ddim(steps=20))
    for figure in ("one_nna", "mmd"):
        a, b = ([getattr(each, figure) for each in found] for found in (few, many))
        apart = paired_difference(a, b)
        print(
            f"ddim - ancestral {figure} {apart.mean:.4f} +- {apart.standard_error:.4f}, "
            f"{100 * apart.mean / np.mean(b):.1f} %"
        )


def _pictures(views: Path, file: Path, folder: Path, steps: int) -> None:
    example = "plugins/pointcloud-diffusion/examples/pictures.yaml"
    spec = load_spec(
        str(Path(__file__).parents[1] / example),
        [f"data.path={views}", f"data.of.path={file}"],
    ).spec.model_dump(mode="json")
    run = train(
        folder,
        "pictures",
        {"model": spec["model"], "data": spec["data"], "train": _training(steps, 32, 2e-3)},
    )
    model, dataset = load(run), build_dataset(load_spec(str(run / "spec.yaml")).spec)
    test, known = dataset.split("test"), dataset.split("train")
    truth = torch.cat([batch.x for batch in fixed_batches(test, 0, 64)])
    conditions = of_examples(model, dataset, 0, "test")
    made = generate(model, len(truth), 0, conditions=conditions, sampler=Ancestral(steps=100))
    kind = np.array([test.of.label(i) for i in range(len(test))])
    shapes = torch.cat([batch.x for batch in fixed_batches(known, 0, 64)])
    kinds = np.array([known.of.label(i) for i in range(len(known))])
    own = paired_chamfer(made, truth)
    middles = {k: _middle(shapes[torch.from_numpy(kinds == k)]) for k in sorted(set(kind))}
    middle = paired_chamfer(torch.stack([middles[k] for k in kind]), truth)
    other = _within_classes(kind)
    wrong = paired_chamfer(made[other], truth)
    for name, values in (
        ("its picture", own),
        ("the class's middle shape", middle),
        ("the picture of another shape of the class", wrong),
    ):
        print(f"CD to the truth by {name}: {_error(values)}")
    print(f"middle shape - picture: {_error(middle - own)}")
    for k in sorted(set(kind)):
        rows = kind == k
        print(f"  {dataset.of.categories[k]:22} {own[rows].mean():.4f} {middle[rows].mean():.4f}")
    rows = np.linspace(0, len(truth) - 1, 12).round().astype(int).tolist()
    save_pairs(truth[rows], made[rows], run / "pairs.png")


def _error(values: np.ndarray) -> str:
    return f"{values.mean():.4f} +- {values.std(ddof=1) / len(values) ** 0.5:.4f}"


def _middle(shapes: Tensor, most: int = 60) -> Tensor:
    """The shape with the least mean distance to the others: the mean of a set of shapes."""
    few = shapes[:most]
    return few[int(pairwise_chamfer(few).mean(1).argmin())]


def _within_classes(kind: np.ndarray) -> list[int]:
    """The row of another example of the same class, for each."""
    found = np.arange(len(kind))
    for k in set(kind):
        rows = np.flatnonzero(kind == k)
        found[rows] = np.roll(rows, 1)
    return found.tolist()


if __name__ == "__main__":
    main()
