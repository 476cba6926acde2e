"""KL(q || p): closed forms where they exist, else Monte Carlo."""

from collections.abc import Callable

from torch import Tensor

from corekit.flows.prior import StandardNormal
from corekit.interfaces.density import Density
from corekit.interfaces.posterior import Posterior
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
