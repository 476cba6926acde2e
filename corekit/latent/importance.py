"""log p(x) of a latent model by importance sampling, in bounded memory."""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from corekit.errors import NoDensity, UsageError
from corekit.interfaces.draws import Randomness, as_draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import Condition
from corekit.latent.scoring import log_joint

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


class Importance(NamedTuple):
    """An estimate of log p(x), and how much of its sample counts.

    Shape: both ``(B,)``.
        - log_p: log of the mean weight, nats, of kind ``weight``
        - ess: effective number of draws, between 1 and all: (sum w)^2 / sum w^2
    """

    log_p: LogProb
    ess: Tensor


@torch.no_grad()
def importance_log_prob(
    model: "LatentModel",
    x: Tensor,
    condition: Condition | None = None,
    *,
    samples: int = 1000,
    at_once: int = 100,
    generator: Randomness = None,
) -> Importance:
    r"""log of the mean of S importance weights per row.

    .. math:: \log \hat p(x) = \log \tfrac1S \sum_s
        \frac{p(x \mid z_s)\, p(z_s)}{q(z_s \mid x)}, \qquad z_s \sim q(z \mid x)

    Its exponential is unbiased, so it is on average too low; it rises with S to log p(x). The
    encoder runs once. Sums are kept in float64 as logarithms: memory is that of ``at_once`` draws.

    Shape: x ``(B, *event_shape)``.

    Raises:
        NoDensity: If the weights are none: of a bound, the mean of exponentials overstates p(x).

    Source: Burda et al., Importance Weighted Autoencoders, ICLR 2016, eq. 8,
        https://arxiv.org/abs/1509.00519.
    """
    if samples < 1 or at_once < 1:
        raise UsageError(
            "importance_log_prob: samples and at_once must be at least 1, got "
            f"{samples} and {at_once}."
        )
    if model.kind not in (Likelihood.EXACT, Likelihood.WEIGHT):
        raise NoDensity(
            "importance_log_prob: log weights must be exact or weights, got a model of kind "
            f"'{model.kind.value}'. The log-mean-exp of such numbers overstates log p(x): take the "
            f"mean log_prob instead. {model.why() if model.kind is Likelihood.NONE else ''}".strip()
        )
    draws, given = as_draws(generator), model.given_of(condition)
    posterior = model.encoder(x, condition)
    one = two = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
    for start in range(0, samples, at_once):
        k = min(at_once, samples - start)
        z, log_q = posterior.rsample_and_log_prob(draws, k)
        log_px, log_pz = log_joint(model, x, z.to(x.dtype), k, given, draws)
        log_w = (log_px.value + log_pz.value - log_q.value).double().reshape(k, -1)
        one = torch.logaddexp(one, log_w.logsumexp(0))
        two = torch.logaddexp(two, (2 * log_w).logsumexp(0))
    log_p = LogProb(one - math.log(samples), Likelihood.WEIGHT)
    return Importance(log_p, (2 * one - two).exp())
