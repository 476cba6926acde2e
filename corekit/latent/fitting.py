"""The loss of a prior alone, where encoder and decoder stay as they are."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.part_loss import PartLoss
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.precision import full_precision
from corekit.interfaces.records import Batch, LossTerms
from corekit.latent.kl import kl_terms, kl_unit

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


class PriorLoss(PartLoss):
    r"""KL(q(z | x) || p(z)), whose gradient with respect to the prior is that of the whole loss.

    .. math:: \nabla_p \big[D(x \mid z) + \beta\, \mathrm{KL}\big] = \beta\, \nabla_p\, \mathrm{KL}

    beta weighs the KL against a reconstruction that does not change, so it is left out: a model
    that was trained as an auto-encoder, with beta = 0, gets its prior all the same. Of a point
    posterior the KL is -log p(z), or whatever else the loss of the prior is.
    """

    _kind: type[Posterior]

    def coder(self, model: "LatentModel") -> nn.Module:
        """The encoder."""
        return model.encoder

    def code(self, model: "LatentModel", batch: Batch) -> Tensor:
        """The posterior of each row: its parameters, or the latent if it is a point.

        Raises:
            UsageError: If the prior is conditional: codes are kept without conditions.
        """
        if model.given is not None:
            raise UsageError(
                "PriorLoss: latents that are kept must have no conditions beside them, got a "
                "conditional prior. Set cache to false."
            )
        posterior = model.encoder(batch.x, batch.condition)
        self._kind = type(posterior)
        return posterior.stored()

    def __call__(self, model: "LatentModel", batch: Batch, draws: Draws) -> LossTerms:
        """The KL and what it is made of, with a new z for each row."""
        prior = model.prior
        if prior is None:
            raise UsageError("PriorLoss: the model must have a prior, got an auto-encoder.")
        with torch.no_grad():
            posterior = (
                self._kind.restored(batch.x)
                if self.cached
                else model.encoder(batch.x, batch.condition)
            )
            z, log_q = posterior.rsample_and_log_prob(draws)
        z = z.to(batch.x.dtype)
        given = model.for_prior(model.given_of(batch.condition, draws))
        with full_precision(z):
            kl, extra, seen = kl_terms(prior, posterior, z, log_q, draws, condition=given)
        terms = {"kl": kl, **extra}
        seen = {f"prior.{path}": value for path, value in seen.items()}
        units = dict.fromkeys(terms, kl_unit(prior))
        return LossTerms(kl, terms, posterior.statistics(), seen, units)
