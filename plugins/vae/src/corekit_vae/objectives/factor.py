"""FactorVAE: the total correlation, told by a judge of latents."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.interfaces.draws import Draws
from corekit.interfaces.names import MAIN
from corekit.interfaces.network import Network
from corekit.interfaces.records import Batch
from corekit.latent.scoring import Scored
from corekit_vae.objectives.adversary import Adversarial
from corekit_vae.objectives.base import Kl, Term
from corekit_vae.scheduled import Given

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


def permuted(z: Tensor, keys: Tensor) -> Tensor:
    """Each element of z with rows in another order of its own: what independent elements give.

    Shape: z and keys ``(B, ...)``; the keys, uniform numbers, are the orders once they are sorted.
    """
    return z.gather(0, keys.argsort(dim=0))


class Factor(Adversarial):
    r"""FactorVAE.

    .. math::
        L = D + \beta\, \mathrm{KL} + \gamma\, E[s(z)], \qquad
        s(z) \approx \log \frac{q(z)}{\prod_d q(z_d)}

    The judge s learns in the phase ``discriminator`` to tell draws of q(z) from the same draws with
    each dimension permuted across the batch. Where it has not learned yet, or errs, E[s] may be
    negative, though no total correlation is.

    Args:
        gamma: Of the total correlation, a number or a schedule.
        judge: Factory of s, from a latent to one number; a perceptron of three hidden layers unless
            given (the paper has six of 1000).
        kl_weight: beta, a number or a schedule.
        kl: How the KL is computed (`Objective`).

    Source: Kim and Mnih, Disentangling by Factorising, ICML 2018, algorithm 2,
        https://arxiv.org/abs/1802.05983.
    """

    phases = (MAIN, "discriminator")
    rows_coupled = True

    def __init__(
        self,
        *,
        gamma: Given = 10.0,
        judge: Callable[..., Network] | None = None,
        kl_weight: Given = 1.0,
        kl: Kl = "auto",
    ) -> None:
        super().__init__(weight=gamma, judge=judge, kl_weight=kl_weight, kl=kl)

    def terms(
        self, scored: Scored, model: "LatentModel", batch: Batch, draws: Draws
    ) -> Mapping[str, Term]:
        """What the judge takes the total correlation for, ``(B,)``."""
        return {"judged_total_correlation": Term(self.weight, self.logit(scored.z), "nats")}

    def judged(self, model: "LatentModel") -> tuple[Shape, Shape]:
        """A latent, and one number."""
        return model.encoder.latent_shape, (1,)

    @torch.no_grad()
    def pair(self, model: "LatentModel", batch: Batch, draws: Draws) -> tuple[Tensor, Tensor]:
        """Latents, and the same permuted."""
        condition, _ = model.told(batch.condition, draws)
        z, _ = model.encoder(batch.x, condition).rsample_and_log_prob(draws)
        z = z.to(batch.x.dtype)
        return z, permuted(z, draws.uniform("permutation", tuple(z.shape), z))
