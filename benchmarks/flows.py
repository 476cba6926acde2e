"""Normalizing flows: a training step, log_prob and sample, beside the libraries users come from.

python benchmarks/flows.py [--features 2 64] [--rounds 9] [--flow NAME]
                                 # needs: pip install nflows normflows zuko FrEIA

CPU time on one thread, all libraries in one process, in turn; batches of 512 in float32, Adam. A
library that is not installed is left out.
"""

import argparse
import math
import statistics
import warnings
from importlib.metadata import version

import torch
from flow_peers import LAYERS, LIBRARIES
from interleave import interleaved

BATCH = 512


def main() -> None:
    """Print a table per number of features, and the geometric mean of all ratios."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--features", type=int, nargs="+", default=[2, 64])
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--flow", choices=LAYERS, nargs="+", default=list(LAYERS))
    given = arguments.parse_args()
    warnings.simplefilter("ignore")  # of the other libraries
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, " + ", ".join(_installed()))
    ratios = []
    for features in given.features:
        print(f"\n| D = {features} | " + " | ".join([*LIBRARIES, "ratio"]) + " |")
        for kind in given.flow:
            ratios += _rows(kind, features, given.rounds)
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"\n{len(ratios)} cells, the fastest of the others over corekit: geometric mean", end=" ")
    print(f"{mean:.2f}, least {min(ratios):.2f}")


def _installed() -> list[str]:
    names = [name for name in LIBRARIES if name != "corekit"]
    return [f"{name} {version(name)}" for name in names]


def _rows(kind: str, features: int, rounds: int) -> list[float]:
    torch.manual_seed(0)
    flows = {name: make(kind, features) for name, make in LIBRARIES.items()}
    flows = {name: flow for name, flow in flows.items() if flow is not None}
    x, ratios = torch.randn(BATCH, features), []
    for what in ("step", "log_prob", "sample"):
        calls = {name: _call(what, flow, x) for name, flow in flows.items()}
        slow = what == "sample" and features > 8 and "oupling" not in kind and kind != "RealNVP"
        medians = interleaved(calls, rounds=3 if slow else rounds)
        ratio = min(ms for name, ms in medians.items() if name != "corekit") / medians["corekit"]
        cells = [f"{1000 * medians[n]:.2f}" if n in medians else "" for n in LIBRARIES]
        print(f"| {kind}, {what} | " + " | ".join([*cells, f"{ratio:.2f}"]) + " |", flush=True)
        ratios.append(ratio)
    return ratios


def _call(what, flow, x):
    if what == "step":
        optimizer = torch.optim.Adam(flow.module.parameters(), 1e-5, fused=True)

        def step() -> None:
            optimizer.zero_grad()
            (-flow.log_prob(x).mean()).backward()
            optimizer.step()

        return step

    def without_gradient() -> None:
        with torch.no_grad():
            flow.log_prob(x) if what == "log_prob" else flow.sample(len(x))

    return without_gradient


if __name__ == "__main__":
    main()
