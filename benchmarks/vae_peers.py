"""pythae's models on the digits of `vae_likelihood.py`: the same network, steps and test images.

python benchmarks/vae_peers.py [--steps 3367] [--seeds 3] [--activation silu] [--models VAE VAMP]

Needs pythae: `pip install --no-deps pythae cloudpickle imageio`. Training digits are made black and
white anew at each visit; its own loss without a warm-up; -log p(x) by its `get_nll`, 1,000 samples.
"""

import argparse
import math
import statistics

import torch
from pythae import models as peers
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from corekit.build import build_dataset
from corekit.spec import run_spec

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}


class Encoder(BaseEncoder):
    """64-256-256-16."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 256), activation(), nn.Linear(256, 256), activation()
        )
        self.mu, self.log_var = nn.Linear(256, 16), nn.Linear(256, 16)

    def forward(self, x: Tensor) -> ModelOutput:
        """Mean and log-variance."""
        h = self.layers(x.flatten(1))
        return ModelOutput(embedding=self.mu(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    """16-256-256-64."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(16, 256),
            activation(),
            nn.Linear(256, 256),
            activation(),
            nn.Linear(256, 64),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> ModelOutput:
        """Probabilities."""
        return ModelOutput(reconstruction=self.layers(z).reshape(-1, 1, 8, 8))


def main() -> None:
    """Train and score."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--steps", type=int, default=3367)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--activation", choices=tuple(ACTIVATIONS), default="silu")
    arguments.add_argument("--models", nargs="+", default=["VAE", "VAMP"])
    given = arguments.parse_args()
    torch.set_num_threads(1)
    for name in given.models:
        found = [_nats(name, given.activation, given.steps, seed) for seed in range(given.seeds)]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        each = [round(v, 3) for v in found]
        print(f"{name:6s} {statistics.mean(found):.3f} +- {spread:.3f} nats  {each}", flush=True)


def _nats(name: str, activation: str, steps: int, seed: int) -> float:
    torch.manual_seed(seed)
    config = getattr(peers, f"{name}Config")
    more = {"number_components": 50} if name == "VAMP" else {}
    options = config(input_dim=(1, 8, 8), latent_dim=16, reconstruction_loss="bce", **more)
    kind = ACTIVATIONS[activation]
    model = getattr(peers, name)(options, encoder=Encoder(kind), decoder=Decoder(kind))
    gray, test = _digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-4 * (1 + math.cos(math.pi * step / steps))
        if len(order) < 128:
            order = torch.cat((order, torch.randperm(len(gray))))
        batch, order = gray[order[:128]], order[128:]
        x = (torch.rand_like(batch) < batch).float()
        loss = model({"data": x}, epoch=1 + step * 128 // len(gray)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return -float(model.get_nll(test, n_samples=1000, batch_size=250))


def _digits() -> tuple[Tensor, Tensor]:
    """Gray training digits, and the test ones of `vae_likelihood.py` in black and white."""
    data = {"type": "binarized", "of": {"type": "digits"}, "seed": 1}
    model = {"type": "flow", "bijector": "linear"}
    dataset = build_dataset(run_spec({"version": 1, "model": model, "data": data}))
    test, gray = dataset.split("test"), dataset.of.split("train")
    return (
        gray.get_batch(range(len(gray))).x,
        torch.stack([test.get(i, None).x for i in range(len(test))]),
    )


if __name__ == "__main__":
    main()
