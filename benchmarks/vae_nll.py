"""Importance sampling of log p(x) beside pythae's `get_nll`: CPU milliseconds per image.

python benchmarks/vae_nll.py [--samples 1000] [--rows 20] [--rounds 5]

Perceptrons 784-512-16 and back, one thread, in turn. pythae takes part where it is installed:
`pip install --no-deps pythae cloudpickle imageio`.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from corekit.build import build
from corekit.data_spec import pixel_spec
from corekit.interfaces.draws import Draws
from corekit.latent.importance import importance_log_prob

NET = {"type": "vae.mlp", "hidden": [512]}
SPEC = {
    "version": 1,
    "model": {
        "type": "latent",
        "encoder": {**NET, "latent_dim": 16},
        "prior": "normal",
        "decoder": {**NET, "likelihood": "vae.bernoulli"},
    },
    "data": "shapes2d",
}


def main() -> None:
    """Time both."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--samples", type=int, default=1000)
    arguments.add_argument("--rows", type=int, default=20)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    x = (torch.rand(given.rows, 1, 28, 28) < 0.3).float()
    model = build(SPEC, data=pixel_spec((1, 28, 28), (0.0, 1.0), bits=1)).eval()
    ways: dict[str, Callable[[], object]] = {
        "corekit": lambda: importance_log_prob(
            model, x, samples=given.samples, generator=Draws(torch.Generator().manual_seed(0))
        )
    }
    try:
        from pythae.models import VAE, VAEConfig

        peer = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce"))
        peer.eval()
        ways["pythae"] = lambda: peer.get_nll(x, n_samples=given.samples, batch_size=100)
    except ImportError:
        print("pythae is not installed")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(1000 * (time.process_time() - start) / given.rows)
    for name, values in taken.items():
        ratio = statistics.median(v / o for v, o in zip(values, taken["corekit"], strict=True))
        print(f"{name:8s} {statistics.median(values):7.1f} ms per image   {ratio:.2f}")


if __name__ == "__main__":
    main()
