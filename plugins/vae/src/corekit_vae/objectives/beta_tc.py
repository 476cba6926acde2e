"""beta-TC-VAE: the KL in three parts, estimated from a minibatch."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.precision import full_precision, wide
from corekit.interfaces.records import Batch
from corekit.latent.posteriors import DiagonalGaussian
from corekit.latent.scoring import Scored
from corekit_vae.objectives.base import Objective, Term
from corekit_vae.scheduled import Given

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel

Estimator = Literal["stratified", "weighted"]


def log_weights(like: Tensor, rows: int, size: int, estimator: Estimator) -> Tensor:
    r"""Logarithms of the weights of q(z_i | x_j) in the estimate of q(z_i), ``(B, B)``.

    Stratified: 1 / N for row i's own x, (N - M) / (N M) for one other, 1 / M for the rest, with
    M = B - 1 others: the own one is 1 of N examples, the others stand for those not in the batch.
    The rows of this matrix add up to 1. Weighted: 1 / (B N) for all, which add up to 1 / N.
    """
    if estimator == "weighted":
        return like.new_full((rows, rows), -math.log(max(rows, 1) * size))
    if rows < 2:
        return like.new_zeros((rows, rows))
    size, others = max(size, rows), rows - 1
    own = torch.eye(rows, dtype=like.dtype, device=like.device)
    one = own.roll(1, dims=1)
    found = like.new_full((rows, rows), -math.log(others))
    return found + own * math.log(others / size) + one * math.log((size - others) / size)


def log_aggregate(q: DiagonalGaussian, z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Estimates of log q(z) and of the sum over d of log q(z_d), each ``(B,)``, nats.

    Shape: z ``(B, *latent_shape)``; weights ``(B, B)``, of `log_weights`.
    """
    mu, log_var, points = (t.flatten(1) for t in (q.mu, q.log_var, z))
    scaled = (points[:, None] - mu).square() * (-log_var).exp()
    each = -0.5 * (math.log(2 * math.pi) + log_var + scaled)  # (B of z, B of x, D)
    joint = torch.logsumexp(each.sum(2) + weights, dim=1)
    return joint, torch.logsumexp(each + weights[:, :, None], dim=1).sum(1)


class BetaTc(Objective):
    r"""The KL as mutual information, total correlation and KL of each dimension, each weighted.

    .. math::
        L = D + \alpha\, E\Big[\log \frac{q(z \mid x)}{q(z)}\Big]
        + \beta\, E\Big[\log \frac{q(z)}{\prod_d q(z_d)}\Big]
        + \gamma\, E\Big[\log \frac{\prod_d q(z_d)}{p(z)}\Big]

    q(z) is the mean of q(z | x) over all N training examples, estimated from those of the batch
    (`log_weights`). Both estimates have a bias; the three terms always add up to
    log q(z | x) - log p(z). An estimate of the total correlation may be negative, though it is not.

    Args:
        alpha: Of the mutual information, a number or a schedule.
        beta: Of the total correlation, a number or a schedule.
        gamma: Of the KL of each dimension, a number or a schedule.
        estimator: stratified, or weighted.
        size: N; that of the training data if None.

    Raises:
        UsageError: If the posterior is no diagonal Gaussian, or N is not known.

    Source: Chen et al., Isolating Sources of Disentanglement in VAEs, NeurIPS 2018, eq. 4 and 5,
        appendix C, https://arxiv.org/abs/1802.04942.
    """

    rows_coupled = True
    needs_prior = True

    def __init__(
        self,
        *,
        alpha: Given = 1.0,
        beta: Given = 6.0,
        gamma: Given = 1.0,
        estimator: Estimator = "stratified",
        size: int | None = None,
    ) -> None:
        super().__init__(kl_weight=0.0)
        if estimator not in ("stratified", "weighted"):
            raise UsageError(
                f"BetaTc: estimator must be stratified or weighted, got {estimator!r}."
            )
        if size is not None and size < 1:
            raise UsageError(f"BetaTc: size must be at least 1, got {size}.")
        self.estimator, self.size = estimator, size
        self.alpha, self.beta = self.scheduled("alpha", alpha), self.scheduled("beta", beta)
        self.gamma = self.scheduled("gamma", gamma)

    def prepare(self, model: "LatentModel") -> None:  # type: ignore[override]
        """Refuse data whose number is not known."""
        super().prepare(model)
        self._size(model)

    def terms(
        self, scored: Scored, model: "LatentModel", batch: Batch, draws: Draws
    ) -> Mapping[str, Term]:
        """The three parts of the KL, ``(B,)`` each, nats."""
        q, prior = scored.posterior, model.prior
        if not isinstance(q, DiagonalGaussian) or prior is None:
            raise UsageError(
                f"BetaTc: the posterior must be a diagonal Gaussian, got {type(q).__name__}."
            )
        with full_precision(q.mu):
            z = wide(scored.z)
            weights = log_weights(q.mu, len(z), self._size(model), self.estimator)
            joint, product = log_aggregate(q, z, weights)
            cross = scored.parts.get("cross_entropy")
            if cross is None:  # the KL had a closed form
                given = model.for_prior(scored.given)
                cross = -prior.log_prob(scored.z, given, generator=draws).value
        log_q = scored.log_q.value
        return {
            "mutual_information": Term(self.alpha, log_q - joint, "nats"),
            "total_correlation": Term(self.beta, joint - product, "nats"),
            "dimension_wise_kl": Term(self.gamma, product + cross, scored.kl_unit),
        }

    def _size(self, model: "LatentModel") -> int:
        size = self.size or model.data.size
        if size is None:
            raise UsageError(
                "BetaTc: the number of training examples must be known, got data that do not say "
                "it. Set size."
            )
        return size
