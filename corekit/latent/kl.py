"""KL(q || p): closed forms where they exist, else Monte Carlo."""

import math
import warnings
from collections.abc import Callable, Mapping

from torch import Tensor

from corekit.flows.bases import Gaussian
from corekit.flows.prior import StandardNormal
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Condition
from corekit.latent.posteriors import DiagonalGaussian


def cross_entropy_to_gaussian(
    mean: Tensor, variance: Tensor, p: Density, condition: Condition | None = None
) -> Tensor:
    """-E[log p(z)] of each element of a z with these means and variances, nats.

    It needs no more of q than these: p is `StandardNormal`, or a `Gaussian` given a condition.

    Shape: mean, variance and result ``(B, *latent_shape)``.
    """
    constant = 0.5 * math.log(2 * math.pi)
    if not isinstance(p, Gaussian):
        return 0.5 * (mean.square() + variance) + constant
    centre, log_scale = p.parameters_of(condition)
    spread = (mean - centre).square() + variance
    return 0.5 * spread * (-2 * log_scale).exp() + log_scale + constant


def _diagonal_to_standard(
    q: DiagonalGaussian, p: StandardNormal, condition: Condition | None
) -> Tensor:
    """1/2 (mu^2 + exp(log_var) - log_var - 1) each. Kingma and Welling 2014, appendix B."""
    return 0.5 * (q.mu.square() + q.log_var.exp() - q.log_var - 1)


def _diagonal_to_gaussian(q: DiagonalGaussian, p: Gaussian, condition: Condition | None) -> Tensor:
    """s - log_var / 2 + ((mu - m)^2 + exp(log_var)) exp(-2 s) / 2 - 1/2 each."""
    entropy = 0.5 * (1 + math.log(2 * math.pi) + q.log_var)
    return cross_entropy_to_gaussian(q.mu, q.log_var.exp(), p, condition) - entropy


CLOSED_FORMS: dict[tuple[type, type], Callable[..., Tensor]] = {}
"""(type of q, type of p) -> a function of q, p and the condition of p: KL(q || p), ``(B,)``."""

OF_ELEMENTS: dict[tuple[type, type], Callable[..., Tensor]] = {
    (DiagonalGaussian, StandardNormal): _diagonal_to_standard,
    (DiagonalGaussian, Gaussian): _diagonal_to_gaussian,
}
"""The same ``(B, *latent_shape)``, where q and p are products over the elements of z."""


def closed_form_kl(q: Posterior, p: Density, condition: Condition | None = None) -> Tensor | None:
    """KL(q || p) ``(B,)`` in nats, or None if there is no closed form for this pair.

    A package that brings a posterior adds its pairs to `CLOSED_FORMS`, or those of products to
    `OF_ELEMENTS`, where it defines it.

    The pair is looked up by exact type: a subclass may be another distribution.
    """
    form = CLOSED_FORMS.get((type(q), type(p)))
    if form is not None:
        return form(q, p, condition)
    elements = kl_of_elements(q, p, condition)
    return None if elements is None else elements.flatten(1).sum(1)


def kl_of_elements(q: Posterior, p: Density, condition: Condition | None = None) -> Tensor | None:
    """The KL of each element of z, ``(B, *latent_shape)`` in nats, whose sum is the whole.

    None where q or p is no product over elements, or there is no closed form.
    """
    form = OF_ELEMENTS.get((type(q), type(p)))
    return form(q, p, condition) if form else None


def kl_unit(prior: Density) -> str:
    """Of `kl_terms`: nats, unless the prior has only an error instead of a density."""
    return "nats" if prior.kind is not Likelihood.NONE else "nats plus the error of the prior"


def kl_terms(
    prior: Density,
    posterior: Posterior,
    z: Tensor,
    log_q: LogProb,
    draws: Draws,
    *,
    condition: Condition | None = None,
    closed_form: bool = True,
    entropy: bool = True,
) -> tuple[Tensor, dict[str, Tensor], Mapping[str, tuple[Tensor, Tensor]]]:
    """KL(q || p), the terms it is made of, and what parts of the prior learn from.

    Args:
        prior: p.
        posterior: q.
        z: A draw from q per row.
        log_q: Its density.
        draws: Noise that the loss of the prior needs.
        condition: That p is given.
        closed_form: Whether to take a closed form where there is one.
        entropy: Whether to take the entropy of q where it is known; else log q(z) at the draw.

    Shape: z ``(B, ...)``; the KL and its terms ``(B,)``, nats where both have a density.
    """
    exact = closed_form_kl(posterior, prior, condition) if closed_form else None
    if exact is not None:
        return exact, {}, {}
    known = getattr(posterior, "entropy", None) if entropy else None
    negative_entropy = log_q.value if known is None else -known()
    scored = prior.loss(z, condition=condition, draws=draws)
    terms = {"negative_entropy": negative_entropy, "cross_entropy": scored.total}
    return negative_entropy + scored.total, terms, scored.seen


def warn_of_growth(prior: Density) -> None:
    """Say that a posterior with a density gains by spreading under a prior with an error."""
    warnings.warn(
        "LatentModel: beside a posterior with a density the prior must be one in nats, got "
        f"{type(prior).__name__}, which has an error instead. The entropy of the posterior "
        "outweighs it, and latents that learn beside it grow without end. Set 'train_by: bound' "
        "on a diffusion prior, or take a posterior of points and train the prior later.",
        stacklevel=3,
    )
