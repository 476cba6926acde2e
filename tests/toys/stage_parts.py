"""A two-stage model of points in the plane, small enough to train in a blink, and what it left."""

from contextlib import ExitStack
from typing import Literal

from learning_parts import offered
from pydantic import Field
from torch import nn

import corekit
from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood
from corekit.latent.posteriors import DiagonalGaussian, Point
from corekit.spec import Spec, run_spec
from corekit.train.run_folder import RunFolder
from corekit.train.sampling import generate
from corekit.train.stages import train_stages


class PlainSpec(Spec):
    """A layer, a norm, a layer."""

    type: Literal["toy.plain"] = "toy.plain"
    point: bool = Field(True, description="whether the posterior is a point")
    norm: bool = Field(True, description="whether there are batch statistics and dropout")


class Plain(Encoder):
    """From the plane to three numbers."""

    def __init__(self, event_shape, *, point=True, norm=True):
        super().__init__()
        self.event_shape, self.latent_shape, self.point = tuple(event_shape), (3,), point
        between = [nn.BatchNorm1d(4), nn.Dropout(0.1)] if norm else []
        self.body = nn.Sequential(nn.Linear(2, 4), *between, nn.Tanh())
        self.mu, self.log_var = nn.Linear(4, 3), nn.Linear(4, 3)
        self.kind = Likelihood.NONE if point else Likelihood.EXACT

    def _forward(self, x, condition):
        h = self.body(x)
        return Point(self.mu(h)) if self.point else DiagonalGaussian(self.mu(h), self.log_var(h))


def stage_parts():
    """Offer the encoder and the parts that learn, for a ``with`` block."""
    stack = ExitStack()
    stack.enter_context(offered())
    stack.enter_context(corekit.register("encoder", "toy.plain", spec=PlainSpec, target=Plain))
    return stack


COUPLING = {"type": "realnvp.affine_coupling", "hidden": 4}
STAGES = [
    {"name": "autoencoder", "parts": ["encoder.*", "decoder.*"]},
    {
        "name": "prior",
        "parts": ["prior.*"],
        "cache": True,
        "train": {"batch_size": 8, "optimizer": {"lr": 1e-2}},
    },
]


def staged(*, point=True, norm=True, stages=STAGES, prior=None, loss=None, **train):
    """The spec: an encoder, a flow over its latents, a Gaussian decoder."""
    bijector = {"type": "repeat", "times": 2, "of": ["toy.data_norm", COUPLING]}
    return run_spec(
        {
            "version": 1,
            "model": {
                "type": "latent",
                "encoder": {"type": "toy.plain", "point": point, "norm": norm},
                "prior": {"type": "flow", "bijector": bijector} if prior is None else prior,
                "decoder": {"type": "gaussian", "hidden": [4]},
                "loss": {"type": "weighted_elbo", **(loss or {})},
            },
            "data": {"type": "toy2d", "size": 60, "held_out": 40},
            "train": {
                "steps": 6,
                "batch_size": 6,
                "optimizer": {"type": "adam", "lr": 1e-3},
                "ema": 0.9,
                "checkpoint_every": 2,
                "evaluate_every": 3,
                "log_every": 2,
                "device": "cpu",
                **train,
            },
            "stages": stages,
        }
    )


def trained(spec, run, **options):
    return train_stages(spec, run, quiet=True, **options)


def weights(run, stage, step=6, file="model"):
    return read(run / "stages" / stage / "checkpoints" / f"step-{step:07d}", file)


def of_part(state, *names):
    return {k: v for k, v in state.items() if k.startswith(names)}


def result(run):
    """Everything that a run of stages leaves: weights, averages, optimizers, logs, samples."""
    found = {}
    for stage in ("1-autoencoder", "2-prior"):
        for file in ("model", "ema", "optimizer", "state"):
            tree = weights(run, stage, file=file)
            if file == "state":
                tree.pop("started_from")  # its path
            found[stage, file] = tree
        hidden = ("steps_per_s", "cost")
        records = RunFolder(run / "stages" / stage).records()
        log = [{k: v for k, v in r.items() if k not in hidden} for r in records]
        found[stage, "log"] = [r for r in log if r["split"] == "val" or r["step"] == 6]
    return {**found, "next": generate(load(run), 3, seed=1)}


COUPLED = "prior.bijector.members.1."  # the weights of a coupling of the prior


def differing(one, two):
    return [name for name in one if not same(one[name], two[name])]


class Killed(BaseException):
    """Stands for a process that is gone."""


def killed(trainer=None):
    raise Killed
