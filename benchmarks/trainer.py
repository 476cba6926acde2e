"""What the trainer costs per step over a bare loop with the same loader, clipping and EMA.

python benchmarks/trainer.py            # CPU time of one thread, milliseconds per step
"""

import tempfile
from pathlib import Path

import torch
from interleave import interleaved

from corekit.data.loading import Loader
from corekit.interfaces.draws import Draws, seed_of
from corekit.spec import run_spec
from corekit.train.ema import Ema
from corekit.train.meter import Meter
from corekit.train.trainer import Trainer

STEPS = 200
SPEC = {
    "version": 1,
    "model": {
        "type": "latent",
        "encoder": {
            "type": "pointcloud.pointnet",
            "latent_dim": 4,
            "widths": [8],
            "head": [8],
            "posterior": "point",
        },
        "decoder": {
            "type": "diffusion",
            "denoiser": {"type": "pointcloud.pointwise", "hidden": [8]},
            "schedule": {"type": "pointcloud.variance_schedule"},
            "loss": {"type": "ddpm.mse"},
        },
    },
    "data": {"type": "shapes3d", "points": 8, "size": 64},
    "train": {"steps": 10**6, "batch_size": 4, "ema": 0.99, "grad_clip": 1.0, "device": "cpu"},
}


def main() -> None:
    """Print milliseconds per step of both loops and the difference."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(run_spec(SPEC), Path(folder) / "run", quiet=True)
    model = trainer.model.train()
    train = trainer.dataset.split("train")
    loaders = [iter(Loader(train, 4, seed=seed_of(0, "data"))) for _ in range(2)]
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    ema, generator = Ema(model, 0.99), torch.Generator()
    parameters = list(model.parameters())

    def bare() -> None:
        for _ in range(STEPS):
            batch = next(loaders[0])
            model(batch, draws=Draws(generator)).total.mean().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema.update()

    meter = Meter()

    def ours() -> None:
        for _ in range(STEPS):
            trainer._phases.begin()
            batch = next(loaders[1])
            trainer._phases.mark("data")
            meter.add(trainer._step(batch))
            trainer.callbacks.step_end()
        meter.read()

    medians = interleaved({"bare loop": bare, "trainer": ours}, rounds=9)
    for name, seconds in medians.items():
        print(f"{name:<10} {1000 * seconds / STEPS:.3f} ms per step")
    overhead = 1000 * (medians["trainer"] - medians["bare loop"]) / STEPS
    print(f"overhead   {overhead:.3f} ms per step")


if __name__ == "__main__":
    main()
