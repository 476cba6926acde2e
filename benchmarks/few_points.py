"""Flows of 2,000 points: those of the course that RealNVP and autoregressive flows are taught with.

python benchmarks/few_points.py [--seeds 2] [--names moons smiley]

As many epochs of batches of 128 as there; 20,000 other points are tested. Printed is their mean
-log p less their mean -log of the true density, nats, and the largest standard error of that.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from corekit_realnvp.autoregressive import Autoregressive
from corekit_realnvp.made import Made
from corekit_realnvp.mixture import MixtureCdf
from corekit_realnvp.tanh_coupling import TanhCoupling

from corekit.data.densities2d import DENSITIES
from corekit.flows.compose import Chain
from corekit.flows.prior import FlowPrior
from corekit.nn.mlp import Mlp


def main() -> None:
    """Train and print what each flow is above the entropy, for each seed."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--names", nargs="+", default=["moons", "smiley"])
    arguments.add_argument("--seeds", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    for name in given.names:
        for kind, (make, epochs) in FEW.items():
            gaps = [_gap(name, seed, make, epochs) for seed in range(given.seeds)]
            means, errors = zip(*gaps, strict=True)
            each = " ".join(f"{gap:.3f}" for gap in means)
            print(f"| {name} | {kind} | {each} | {max(errors):.3f} |", flush=True)


def _gap(name: str, seed: int, make: Callable[[], FlowPrior], epochs: int) -> tuple[float, float]:
    """Nats above the entropy, and the standard error of that."""
    draw, log_density = DENSITIES[name]
    points = torch.from_numpy(draw(np.random.default_rng(seed), 2_000, 1.0)).float()
    test = torch.from_numpy(draw(np.random.default_rng(10_000 + seed), 20_000, 1.0))
    torch.manual_seed(seed)
    flow = make()
    optimizer = torch.optim.Adam(flow.parameters(), 5e-3, fused=True)
    steps = epochs * len(points) // 128
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    average = torch.optim.swa_utils.AveragedModel(
        flow, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    for _ in range(steps):
        optimizer.zero_grad()
        (-flow.log_prob(points[torch.randint(len(points), (128,))]).value.mean()).backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(flow)
    with torch.no_grad():
        found = torch.cat([average.module.log_prob(x.float()).value for x in test.split(4000)])
    truth = torch.cat([log_density(x, 1.0) for x in test.split(4000)])
    gap = truth - found.double()
    return gap.mean().item(), gap.std().item() / math.sqrt(len(gap))


def _autoregressive() -> FlowPrior:
    """x_1 a mixture, x_2 one given x_1: a perceptron of three hidden layers."""
    net = partial(Made, hidden=(64, 64, 64))
    mixture = MixtureCdf(5, family="normal", latent="probit")
    return FlowPrior((2,), bijector=partial(Autoregressive, univariate=mixture, net=net))


def _realnvp() -> FlowPrior:
    """Six affine couplings with a learned multiple of tanh, alternating halves."""
    net = partial(Mlp, hidden=(64, 64))
    halves = [partial(TanhCoupling, net=net, swap=bool(i % 2)) for i in range(6)]
    return FlowPrior((2,), bijector=partial(Chain, of=halves))


FEW = {"autoregressive": (_autoregressive, 100), "RealNVP": (_realnvp, 250)}

if __name__ == "__main__":
    main()
