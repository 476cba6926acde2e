"""The sliced Wasserstein distance to the prior."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.precision import full_precision, wide
from corekit.interfaces.records import Batch
from corekit.latent.scoring import Scored
from corekit_vae.objectives.base import Kl, Objective, Term, drawn_from_prior
from corekit_vae.scheduled import Given

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor, p: int) -> Tensor:
    r"""SW_p^p of two samples of n rows: along a line, the sorted points belong together.

    .. math:: \frac{1}{nP} \sum_{u, i} \big|(a u)_{(i)} - (b u)_{(i)}\big|^p

    Shape: a, b ``(n, D)``; directions ``(P, D)`` of length 1; result ``()``.
    """
    along_a, along_b = ((x @ directions.T).sort(dim=0).values for x in (a, b))
    gap = along_a - along_b
    return (gap.square() if p == 2 else gap.abs()).mean() if len(a) else gap.sum()


class Sliced(Objective):
    r"""Sliced-Wasserstein auto-encoder.

    .. math:: L = D(x \mid z) + \beta\, \mathrm{KL} + w\, \mathrm{SW}_p^p(q(z), p(z))

    Args:
        weight: w, a number or a schedule.
        projections: Directions per batch, uniform on the sphere.
        p: 1 or 2.
        kl_weight: beta, a number or a schedule.
        kl: How the KL is computed (`Objective`).

    Raises:
        UsageError: If an option is none of these.

    Source: Kolouri et al., Sliced-Wasserstein Autoencoder, ICLR 2019, eq. 13,
        https://arxiv.org/abs/1804.01947.
    """

    rows_coupled = True
    needs_prior = True

    def __init__(
        self,
        *,
        weight: Given = 100.0,
        projections: int = 50,
        p: Literal[1, 2] = 2,
        kl_weight: Given = 0.0,
        kl: Kl = "auto",
    ) -> None:
        super().__init__(kl_weight=kl_weight, kl=kl)
        if p not in (1, 2):
            raise UsageError(f"Sliced: p must be 1 or 2, got {p}.")
        if projections < 1:
            raise UsageError(f"Sliced: projections must be at least 1, got {projections}.")
        self.projections, self.p = projections, p
        self.weight = self.scheduled("weight", weight)

    def terms(
        self, scored: Scored, model: "LatentModel", batch: Batch, draws: Draws
    ) -> Mapping[str, Term]:
        """The distance."""
        drawn = wide(drawn_from_prior(model, scored, draws)).flatten(1)
        with full_precision(scored.z):
            z = wide(scored.z).flatten(1)
            value = sliced_wasserstein(z, drawn, self._directions(z, draws), self.p)
        unit = "squared distance of latents" if self.p == 2 else "distance of latents"
        return {"sliced_wasserstein": Term(self.weight, value, unit)}

    def _directions(self, z: Tensor, draws: Draws) -> Tensor:
        """``(P, D)``; every row draws its share of them."""
        rows = len(z)
        share = -(-self.projections // max(rows, 1))
        drawn = draws.normal("directions", (rows, share, z.shape[1]), z).flatten(0, 1)
        return torch.nn.functional.normalize(drawn[: self.projections], dim=1)
