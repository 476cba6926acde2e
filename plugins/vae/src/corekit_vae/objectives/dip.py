"""DIP-VAE: the covariance of latents over the data is to be the identity."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.precision import full_precision
from corekit.interfaces.records import Batch
from corekit.latent.posteriors import DiagonalGaussian
from corekit.latent.scoring import Scored
from corekit_vae.objectives.base import Kl, Objective, Term
from corekit_vae.scheduled import Given

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


def covariance(rows: Tensor) -> Tensor:
    """The covariance matrix over rows ``(B, D)``, divided by B: ``(D, D)``."""
    centred = rows - rows.mean(0)
    return centred.T @ centred / max(len(rows), 1)


class Dip(Objective):
    r"""DIP-VAE I and II: penalties on the covariance of the aggregate posterior.

    .. math::
        L = D + \beta\, \mathrm{KL} + \lambda_{od} \sum_{i \ne j} S_{ij}^2
        + \lambda_d \sum_i (S_{ii} - 1)^2, \qquad
        S_I = \mathrm{Cov}[\mu(x)], \quad S_{II} = \mathrm{Cov}[\mu(x)] + E[\Sigma(x)]

    Args:
        form: i or ii.
        diagonal: lambda_d, a number or a schedule.
        off_diagonal: lambda_od, a number or a schedule.
        kl_weight: beta, a number or a schedule.
        kl: How the KL is computed (`Objective`).

    Raises:
        UsageError: If form is another, or the posterior no diagonal Gaussian.

    Source: Kumar et al., Variational Inference of Disentangled Latent Concepts from Unlabeled
        Observations, ICLR 2018, eq. 6 and 7, https://arxiv.org/abs/1711.00848.
    """

    rows_coupled = True

    def __init__(
        self,
        *,
        form: Literal["i", "ii"] = "ii",
        diagonal: Given = 10.0,
        off_diagonal: Given = 10.0,
        kl_weight: Given = 1.0,
        kl: Kl = "auto",
    ) -> None:
        super().__init__(kl_weight=kl_weight, kl=kl)
        if form not in ("i", "ii"):
            raise UsageError(f"Dip: form must be i or ii, got {form!r}.")
        self.form = form
        self.diagonal = self.scheduled("diagonal", diagonal)
        self.off_diagonal = self.scheduled("off_diagonal", off_diagonal)

    def terms(
        self, scored: Scored, model: "LatentModel", batch: Batch, draws: Draws
    ) -> Mapping[str, Term]:
        """Both penalties."""
        q = scored.posterior
        if not isinstance(q, DiagonalGaussian):
            raise UsageError(
                f"Dip: the posterior must be a diagonal Gaussian, got {type(q).__name__}."
            )
        with full_precision(q.mu):
            matrix = covariance(q.mu.flatten(1))
            diagonal = matrix.diagonal()
            off = matrix.square().sum() - diagonal.square().sum()
            if self.form == "ii":
                diagonal = diagonal + q.log_var.exp().flatten(1).mean(0)
        unit = "squared covariance"
        return {
            "dip_off_diagonal": Term(self.off_diagonal, off, unit),
            "dip_diagonal": Term(self.diagonal, (diagonal - 1).square().sum(), unit),
        }
