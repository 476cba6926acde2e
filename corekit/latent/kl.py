"""KL(q || p): closed forms where they exist, else Monte Carlo."""

from collections.abc import Callable, Mapping

from torch import Tensor

from corekit.flows.prior import StandardNormal
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Condition
from corekit.latent.posteriors import DiagonalGaussian


def _diagonal_to_standard(q: DiagonalGaussian, p: StandardNormal) -> Tensor:
    """1/2 sum_d (mu^2 + exp(log_var) - log_var - 1). Kingma and Welling 2014, appendix B."""
    return 0.5 * (q.mu.square() + q.log_var.exp() - q.log_var - 1).sum(-1)


CLOSED_FORMS: dict[tuple[type, type], Callable[..., Tensor]] = {
    (DiagonalGaussian, StandardNormal): _diagonal_to_standard,
}


def closed_form_kl(q: Posterior, p: Density) -> Tensor | None:
    """KL(q || p) ``(B,)`` in nats, or None if there is no closed form for this pair.

    The pair is looked up by exact type: a subclass may be another distribution.
    """
    form = CLOSED_FORMS.get((type(q), type(p)))
    return form(q, p) if form else None


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

    Shape: z ``(B, ...)``; the KL and its terms ``(B,)``, nats where both have a density.
    """
    exact = closed_form_kl(posterior, prior) if closed_form else None
    if exact is not None:
        return exact, {}, {}
    entropy = getattr(posterior, "entropy", None)
    negative_entropy = log_q.value if entropy is None else -entropy()
    scored = prior.loss(z, condition=condition, draws=draws)
    terms = {"negative_entropy": negative_entropy, "cross_entropy": scored.total}
    return negative_entropy + scored.total, terms, scored.seen
