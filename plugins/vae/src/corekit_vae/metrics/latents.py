"""What the latents of a model are used for: active units, KL per dimension, mutual information."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.dataset import Figure, Look, ModelMetric
from corekit.interfaces.draws import Draws
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Batch
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import DiagonalGaussian

AT_ONCE = 256
"""Rows of the matrix of densities that are computed together."""


class Seen(NamedTuple):
    """Of each example: the mode of its posterior, mean, log-variance and a draw, if Gaussian."""

    mode: Tensor
    mu: Tensor | None
    log_var: Tensor | None
    z: Tensor | None


class Latents(ModelMetric):
    r"""Which latents a model uses.

    - ``active_units``: how many latents have Var_x[E[z_d | x]] above a threshold
    - ``kl``: E[KL(q(z | x) || N(0, I))], nats, with the share of each dimension in the protocol
    - ``mutual_information``: I(x; z) = E[log q(z | x) - log q(z)], nats, with q(z) the mean over
      these examples: at most the logarithm of their number

    The last two are of diagonal Gaussian posteriors. Where few latents are active, the protocol
    says so in words: the posterior of the others has collapsed into the prior.

    Args:
        threshold: Of the variance, squared latent units.

    Source: Burda et al., Importance Weighted Autoencoders, ICLR 2016, sec. 5.2,
        https://arxiv.org/abs/1509.00519; Hoffman and Johnson, ELBO surgery, 2016.
    """

    def __init__(self, *, threshold: float = 0.01) -> None:
        if not threshold > 0:
            raise UsageError(f"Latents: threshold must be positive, got {threshold}.")
        self.threshold = threshold

    def __call__(self, model: GenerativeModel, look: Look) -> Mapping[str, Figure]:
        """The figures."""
        if not isinstance(model, LatentModel):
            raise UsageError(
                f"Latents: the model must be a latent one, got {type(model).__name__}."
            )

        def work(batch: Batch, draws: Draws) -> Seen:
            return _seen(model.encoder(batch.x, batch.condition), draws)

        found = look(work)
        mode = torch.cat([part.mode for part in found])
        active, _ = active_units(mode, self.threshold)
        told = {
            "examples": len(mode),
            "latents": mode.shape[1],
            "threshold": self.threshold,
            "note": _words(active, mode.shape[1]),
        }
        figures = {"active_units": Figure(float(active), None, {}, told, better="higher")}
        parts = [(p.mu, p.log_var, p.z) for p in found if p.mu is not None]
        if not parts:
            return figures
        mu, log_var, z = (torch.cat(column) for column in zip(*parts, strict=True))
        each = 0.5 * (mu.square() + log_var.exp() - log_var - 1).mean(0)
        share = {"per_dimension": [round(v, 4) for v in each.tolist()]}
        figures["kl"] = Figure(each.sum().item(), None, {}, {**told, **share}, better="lower")
        information = mutual_information(mu, log_var, z)
        limit = {"ceiling": math.log(len(mu))}
        figures["mutual_information"] = Figure(information, None, limit, told, better="higher")
        return figures


def active_units(mode: Tensor, threshold: float = 0.01) -> tuple[int, Tensor]:
    """How many columns have a variance above the threshold, and the variances.

    Shape: mode ``(N, D)``; variances ``(D,)``.
    """
    variance = mode.var(0)
    return int((variance > threshold).sum()), variance


def mutual_information(mu: Tensor, log_var: Tensor, z: Tensor) -> float:
    """E[log q(z | x) - log q(z)] in nats, q(z) being the mean of all posteriors given.

    Shape: all ``(N, D)``.
    """
    total, precision = 0.0, (-log_var).exp()
    constant = 0.5 * (log_var + math.log(2 * math.pi)).sum(1)  # (N,)
    for start in range(0, len(z), AT_ONCE):
        part = z[start : start + AT_ONCE]
        # squares by expansion: (n, N) without a tensor of (n, N, D)
        squares = part.square() @ precision.T - 2 * part @ (mu * precision).T
        log_q = -0.5 * (squares + (mu.square() * precision).sum(1)) - constant
        rows = torch.arange(len(part), device=z.device)
        own = log_q[rows, start + rows]
        total += (own - log_q.logsumexp(1) + math.log(len(z))).sum().item()
    return total / len(z)


def _seen(posterior: Posterior, draws: Draws) -> Seen:
    mode = posterior.mode.double().flatten(1).cpu()
    if type(posterior) is not DiagonalGaussian:
        return Seen(mode, None, None, None)
    z, _ = posterior.rsample_and_log_prob(draws)
    mu, log_var, z = (v.double().flatten(1).cpu() for v in (posterior.mu, posterior.log_var, z))
    return Seen(mode, mu, log_var, z)


def _words(active: int, latents: int) -> str:
    if active == latents:
        return "all latents are active"
    if active == 0:
        return (
            "no latent is active: the posterior has collapsed into the prior, and the decoder "
            "ignores z. Lower kl_weight, warm it up, or give free_bits."
        )
    return f"{latents - active} of {latents} latents are idle: their posterior is the prior"
