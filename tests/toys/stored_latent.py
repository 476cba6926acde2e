"""A latent model that says what it is told, whatever the data are: for golden numbers."""

import numpy as np
import torch

from corekit.data_spec import DataSpec
from corekit.flows.prior import StandardNormal
from corekit.interfaces.density import Decoder
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import Batch, LossTerms
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import DiagonalGaussian

ERRORS = {"mean": lambda e: e.square().mean(1), "sum": lambda e: e.square().sum(1)}
ERRORS["half"] = lambda e: 0.5 * e.square().sum(1)


def arrays(folder, name):
    """One golden file, as tensors."""
    with np.load(folder / "vae" / f"{name}.npz") as archive:
        return {key: torch.from_numpy(np.array(archive[key])) for key in archive.files}


class StoredEncoder(Encoder):
    """N(mu, exp(log_var)), both parameters of it."""

    def __init__(self, event_shape, mu, log_var):
        super().__init__()
        self.event_shape, self.latent_shape = tuple(event_shape), tuple(mu.shape[1:])
        self.mu, self.log_var = torch.nn.Parameter(mu), torch.nn.Parameter(log_var)

    def _forward(self, x, condition):
        return DiagonalGaussian(self.mu, self.log_var)


class StoredDecoder(Decoder):
    """A reconstruction that is there already: an error of it, or a Gaussian around it."""

    def __init__(self, event_shape, latent_shape, recon, error):
        super().__init__()
        self.event_shape, self.error = tuple(event_shape), error
        self.condition_shapes = {"vector": tuple(latent_shape)}
        self.kind = Likelihood.EXACT if error is None else Likelihood.NONE
        self.register_buffer("recon", recon)

    def mean(self, condition):
        return self.recon

    def _log_prob(self, x, condition, draws):
        error = (x - self.recon).flatten(1)
        return LogProb(-0.5 * (error.square() + np.log(2 * np.pi)).sum(1))

    def _loss(self, x, condition, draws):
        if self.error is None:
            return super()._loss(x, condition, draws)
        total = ERRORS[self.error]((x - self.recon).flatten(1))
        return LossTerms(total, {"error": total}, units={"error": "squared error"})

    def _sample(self, n, condition, shape, temperature, draws, **options):
        return self.recon


def stored(golden, loss, *, error="mean", recon=None, size=None):
    """A model of the arrays of a golden file, in float64; the error is that of its decoder."""
    x = golden["x"]
    made = golden["recon"] if recon is None else recon
    return LatentModel(
        DataSpec(tuple(x.shape[1:]), size=size),
        encoder=lambda **given: StoredEncoder(mu=golden["mu"], log_var=golden["log_var"], **given),
        decoder=lambda **given: StoredDecoder(recon=made, error=error, **given),
        prior=StandardNormal,
        loss=loss,
    ).double()


def terms_of(golden, loss, *, phase="main", step=None, noise=None, **options):
    """The terms of a loss on the arrays of a golden file, with their noise."""
    model = stored(golden, loss, **options)
    if step is not None:
        model.at_step(step)
    given = {"z": golden["eps"], "base": golden["z_prior"], **(noise or {})}
    return model(Batch(golden["x"]), phase=phase, draws=GivenDraws(given))
