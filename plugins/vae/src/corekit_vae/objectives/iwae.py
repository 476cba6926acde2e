"""The importance-weighted bound, of many draws, with three gradient estimators."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb, importance_bound
from corekit.interfaces.loss import Loss
from corekit.interfaces.records import Batch, LossTerms
from corekit.latent.scoring import log_joint

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel

Estimator = Literal["plain", "stl", "dreg"]


class Iwae(Loss):
    r"""Minus the importance-weighted bound: IWAE, and MIWAE with several groups of draws.

    .. math::
        L = -\frac1M \sum_m \log \frac1K \sum_k w_{mk}, \qquad
        w = \frac{p(x \mid z)\, p(z)}{q(z \mid x)}, \quad z \sim q(z \mid x)

    A bound for every K and M; it is tighter with more K, and less noisy with more M. K = 1 is the
    ELBO with log q(z) - log p(z) in place of the KL: with the exact posterior it is log p(x).

    The gradient with respect to the encoder:

    - ``plain``: that of L. It drowns in noise where K is large.
    - ``stl`` (sticking the landing): without the derivative of log q with respect to its
      parameters, only to z. Its noise vanishes at the exact posterior. Of K = 1 it is unbiased;
      beyond that it is not, as the score that it leaves out has a mean of 0 only where all draws
      weigh the same.
    - ``dreg`` (doubly reparametrised): each draw weighs the square of its normalised weight, which
      is what that score comes to by a second reparametrisation: unbiased at any K, and with less
      noise as K grows.

    Decoder and prior have the gradient of L in all three.

    Args:
        samples: K.
        groups: M.
        estimator: plain, stl or dreg.

    Shape: total ``(B,)``, nats.

    Raises:
        UsageError: If an option is none of these, or the posterior cannot be repeated (stl, dreg).
        NoDensity: If prior, decoder or encoder have no likelihood, or only a bound: its logarithm
            of a mean would overstate log p(x).

    Source: Burda et al., Importance Weighted Autoencoders, ICLR 2016, eq. 8,
        https://arxiv.org/abs/1509.00519; Rainforth et al., ICML 2018, https://arxiv.org/abs/1802.04537
        (MIWAE); Roeder et al., NeurIPS 2017, https://arxiv.org/abs/1703.09194 (STL); Tucker et al.,
        ICLR 2019, eq. 7, https://arxiv.org/abs/1810.04152 (DReG).
    """

    kind = Likelihood.BOUND

    def __init__(
        self, *, samples: int = 5, groups: int = 1, estimator: Estimator = "plain"
    ) -> None:
        super().__init__()
        if estimator not in ("plain", "stl", "dreg"):
            raise UsageError(f"Iwae: estimator must be plain, stl or dreg, got {estimator!r}.")
        if min(samples, groups) < 1:
            raise UsageError(
                f"Iwae: samples and groups must be at least 1, got {samples} and {groups}."
            )
        self.samples, self.groups, self.estimator = samples, groups, estimator

    def prepare(self, model: "LatentModel") -> None:  # type: ignore[override]
        """Refuse a model whose weights are none, before the first step."""
        none = torch.zeros(self.samples)
        joint = Likelihood.NONE if model.prior is None else model.prior.kind | model.decoder.kind
        weights = LogProb(none, joint) - LogProb(none, model.encoder.kind)
        importance_bound(weights, self.samples)

    def forward(self, model: "LatentModel", batch: Batch, draws: Draws) -> LossTerms:  # type: ignore[override]
        """The loss terms of one batch."""
        k = self.samples * self.groups
        condition, given = model.told(batch.condition, draws)
        posterior = model.encoder(batch.x, condition)
        z, log_q = posterior.rsample_and_log_prob(draws, k)
        if self.estimator != "plain":
            log_q = posterior.detached().repeated(k).log_prob(z)
        latent = z.to(batch.x.dtype)  # a posterior is kept in float32, its neighbours need not be
        log_px, log_pz = log_joint(model, batch.x, latent, k, given, draws)
        log_w = log_px + log_pz - log_q
        # K draws of the first group stand in the rows 0, M, 2 M ...: columns are (group, row).
        bound = importance_bound(log_w, self.samples).value
        shares = log_w.value.detach().reshape(self.samples, -1).softmax(0)
        if self.estimator == "dreg":
            surrogate = (shares * log_w.value.reshape(self.samples, -1)).sum(0)
            bound = bound.detach() + surrogate - surrogate.detach()
            _scale_gradient(z, shares)
        terms = {
            "reconstruction_nll": -log_px.value,
            "kl": log_q.value - log_pz.value,
        }
        rows = {name: value.reshape(k, -1).mean(0) for name, value in terms.items()}
        rows["effective_draws"] = self._mean_of_groups(1 / shares.square().sum(0))
        units = {**dict.fromkeys(terms, "nats"), "effective_draws": f"draws of {self.samples}"}
        total = -self._mean_of_groups(bound)
        return LossTerms(total, rows, posterior.statistics(), units=units)

    def _mean_of_groups(self, values: Tensor) -> Tensor:
        """``(M * B,)`` to ``(B,)``."""
        return values.reshape(self.groups, -1).mean(0)


def _scale_gradient(z: Tensor, shares: Tensor) -> None:
    """Multiply what comes back to each of z ``(K M B, ...)`` by its share ``(K, M B)``."""
    if z.requires_grad:
        by_row = shares.reshape(-1, *(1,) * (z.ndim - 1))
        z.register_hook(lambda gradient: gradient * by_row.to(gradient.dtype))
