"""A VAE of pictures: a training step, and decoding, beside the same network without corekit.

python benchmarks/vae.py [--rounds 5] [--batch 64]

CPU time on one thread, in turn: pictures of 3 x 64 x 64, widths 32 to 512, a latent of 128. The
reference is the arithmetic of PyTorch-VAE written anew (`vae_reference`), stepped as its experiment
does; the bare loop is the same network with the layout and the optimizer that corekit is given.
"""

import argparse
import time
from collections.abc import Callable

import torch
from corekit_vae.likelihoods.errors import SquaredError
from corekit_vae.networks.conv import ConvDecoder, ConvEncoder
from interleave import interleaved, show
from torch import Tensor
from vae_reference import ReferenceVae

from corekit.data_spec import pixel_spec
from corekit.flows.prior import StandardNormal
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch, Condition
from corekit.latent.elbo import WeightedElbo
from corekit.latent.model import LatentModel

SHAPE, LATENT = (3, 64, 64), 128
LAST = {"memory_format": torch.channels_last}
Step = Callable[[], object]


def main() -> None:
    """Time steps, then decoding."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--batch", type=int, default=64)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.rand(given.batch, *SHAPE)
    steps = {
        "PyTorch-VAE": reference_step(x),
        "bare, channels_last, fused": bare_step(x.contiguous(**LAST)),
        "corekit": our_step(x, last=False),
        "corekit, channels_last, fused": our_step(x),
        "corekit, the same in bf16": our_step(x, half=True),
    }
    show("a training step", interleaved(steps, given.rounds), "PyTorch-VAE")
    z = torch.randn(given.batch, LATENT)
    show("decoding", interleaved(decoders(z), 3 * given.rounds), "PyTorch-VAE")


def ours() -> LatentModel:
    """Our model with the same network."""
    return LatentModel(
        pixel_spec(SHAPE, (0.0, 1.0)),
        encoder=lambda event_shape: ConvEncoder(event_shape, latent_dim=LATENT),
        prior=lambda event_shape, condition: StandardNormal(event_shape),
        decoder=lambda event_shape, latent_shape: ConvDecoder(
            event_shape, latent_shape, likelihood=lambda event_shape: _error(event_shape)
        ),
        loss=WeightedElbo(kl_weight=0.00025),
    )


def _error(event_shape: tuple[int, ...]) -> SquaredError:
    return SquaredError(event_shape, output="tanh")


def our_step(x: Tensor, *, last: bool = True, half: bool = False) -> Step:
    """A step of our model, with a fused Adam where the layout is channels_last."""
    model, draws = ours(), Draws(torch.Generator().manual_seed(0))
    if last:
        model.to(**LAST)
        x = x.contiguous(**LAST)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=last)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            total = model(Batch(x), draws=draws).total.mean()
        total.backward()
        optimizer.step()

    return step


def bare_step(x: Tensor) -> Step:
    """The same network in a plain loop."""
    model = ReferenceVae(LATENT).to(**LAST)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        model(x)[0].backward()
        optimizer.step()

    return step


def reference_step(x: Tensor) -> Step:
    """As PyTorch-VAE trains: the layout of torch, a plain Adam, three numbers for the log."""
    model = ReferenceVae(LATENT)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> list[float]:
        optimizer.zero_grad()
        terms = model(x)
        terms[0].backward()
        optimizer.step()
        return [term.item() for term in terms]

    return step


def decoders(z: Tensor) -> dict[str, Step]:
    """Ways to decode the same latents."""
    theirs, decoder = ReferenceVae(LATENT).eval(), ours().eval().decoder
    condition = Condition(vector=z)

    def reference() -> Tensor:
        with torch.no_grad():
            return theirs.decode(z)

    def plain() -> Tensor:
        with torch.no_grad():
            return decoder.mean(condition)

    def frozen() -> Tensor:
        with decoder.frozen(), torch.no_grad():  # opening it and folding are part of the time
            return decoder.mean(condition)

    return {"PyTorch-VAE": reference, "corekit": plain, "corekit, frozen": frozen}


if __name__ == "__main__":
    start = time.process_time()
    main()
    print(f"{time.process_time() - start:.0f} s of CPU time")
