"""The point-cloud model against a straight restatement of the reference's arithmetic.

python benchmarks/pointcloud.py            # needs a checkout: tests/toys holds the restatement
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from interleave import interleaved, show

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "toys"))
from corekit_pointcloud_diffusion import denoiser as ours_module
from dpm_restatement import FlowVae
from torch import Tensor

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.diffusion.schedules import linear_betas
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Batch, Condition
from corekit.spec import run_spec

B, N, D, T = 8, 2048, 256, 100
SPEC = {
    "version": 1,
    "model": {
        "type": "latent",
        "encoder": {"type": "pointcloud.pointnet"},
        "prior": {
            "type": "flow",
            "bijector": {
                "type": "repeat",
                "times": 7,
                "of": [
                    {"type": "realnvp.affine_coupling", "scale": "sigmoid2", "swap": True},
                    {"type": "realnvp.affine_coupling", "scale": "sigmoid2"},
                ],
            },
        },
        "decoder": {
            "type": "diffusion",
            "denoiser": {"type": "pointcloud.pointwise", "time": "beta"},
            "schedule": {"type": "pointcloud.variance_schedule"},
            "loss": {"type": "ddpm.mse"},
        },
        "loss": {"type": "weighted_elbo", "kl_weight": 1e-3, "kl": "monte_carlo"},
    },
    "data": {"type": "shapes3d"},
}


def main() -> None:
    """Print the three tables."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    betas = torch.cat([torch.zeros(1), torch.linspace(1e-4, 0.05, 200)])
    theirs = FlowVae(D, 14, 256, betas)
    ours = build(run_spec(SPEC), data=DataSpec((N, 3)))
    x, eps, z = torch.randn(B, N, 3), torch.randn(B, N, 3), torch.randn(B, D)
    t = torch.randint(1, 201, (B,))
    level = ours.decoder.schedule.level(t - 1)

    def reference() -> None:
        with torch.no_grad():
            theirs.diffusion.net(x, betas[t], z)

    def folded() -> None:
        with torch.no_grad():
            ours.decoder.denoiser(x, level, Condition(vector=z))

    calls = {"restatement": reference}
    for tile in [int(a) for a in sys.argv[1:]] or [ours_module.TILE]:

        def tiled(tile: int = tile) -> None:
            ours_module.TILE = tile
            folded()

        calls[f"corekit, tiles of {tile}"] = tiled
    show("denoiser call, 8 x 2048 points", interleaved(calls), "restatement")

    theirs_step = stepper(theirs, lambda: theirs.loss(x, 1e-3, t, z, eps))
    draws = {"z": z, "t": t - 1, "eps": eps}
    ours_step = stepper(ours, lambda: ours(Batch(x), draws=GivenDraws(draws)).total.mean())
    medians = interleaved({"restatement": theirs_step, "corekit": ours_step}, rounds=9)
    show("FlowVAE train step, 8 x 2048 points", medians, "restatement")

    few = torch.cat([torch.zeros(1), torch.linspace(1e-4, 0.02, T)])
    ours.decoder.schedule = DiscreteSchedule(linear_betas(T, 1e-4, 0.02))
    calls = {
        "restatement": lambda: reference_samples(theirs.diffusion.net, few, z),
        "corekit": lambda: ours.decoder.sample(condition=Condition(vector=z)),
    }
    show(f"{B} x {N} points in {T} steps", interleaved(calls, rounds=3), "restatement")


@torch.no_grad()
def reference_samples(net: Callable[..., Tensor], betas: Tensor, z: Tensor) -> dict[int, Tensor]:
    """Every step of the reference's loop, kept on the CPU as it keeps them."""
    alphas = 1 - betas
    bars = alphas.log().cumsum(0).exp()
    x, kept = torch.randn(B, N, 3), {}
    for t in range(T, 0, -1):
        noise = torch.randn_like(x) if t > 1 else torch.zeros_like(x)
        sigma = ((1 - bars[t - 1]) / (1 - bars[t]) * betas[t]).sqrt()
        eps = net(x, betas[t].repeat(B), z)
        x = (x - betas[t] / (1 - bars[t]).sqrt() * eps) / alphas[t].sqrt() + sigma * noise
        kept[t - 1] = x.cpu()
    return kept


def stepper(model, loss):
    """Loss, gradient, clip, Adam."""
    parameters = list(model.parameters())
    fused = {} if isinstance(model, FlowVae) else {"fused": True}
    optimizer = torch.optim.Adam(parameters, 2e-3, **fused)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10)
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
