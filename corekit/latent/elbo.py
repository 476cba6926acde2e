"""The evidence lower bound, weighted."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.loss import Loss
from corekit.interfaces.records import Batch, LossTerms
from corekit.latent.scoring import score

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


class WeightedElbo(Loss):
    r"""Reconstruction plus a weighted KL.

    .. math::
        L = D(x \mid z) + \beta\, \mathrm{KL}(q(z \mid x) \,\|\, p(z)), \qquad z \sim q(z \mid x)

    D is the loss of the decoder: -log p(x | z) in nats, or the error of a diffusion decoder. Only
    beta = 1 with a decoder in nats is a bound on -log p(x). Without a prior, L = D.

    Args:
        kl_weight: beta.
        warmup_steps: beta grows linearly from 0 over this many optimizer steps.
        free_bits: Nats of KL, averaged over the minibatch and summed over the latent, that cost
            nothing (0: none).
        kl: "auto" uses the closed form where there is one; "monte_carlo" uses the entropy of q
            where it is known and one draw for the rest.

    Source:
        Higgins et al., beta-VAE, ICLR 2017, eq. 4, https://openreview.net/forum?id=Sy2fzU9gl;
        free bits: Kingma et al., Improving Variational Inference with Inverse Autoregressive
        Flow, NeurIPS 2016, eq. 15, https://arxiv.org/abs/1606.04934.
    """

    beta: Tensor

    def __init__(
        self,
        *,
        kl_weight: float = 1.0,
        warmup_steps: int = 0,
        free_bits: float = 0.0,
        kl: Literal["auto", "monte_carlo"] = "auto",
    ) -> None:
        super().__init__()
        for name, value in (
            ("kl_weight", kl_weight),
            ("warmup_steps", warmup_steps),
            ("free_bits", free_bits),
        ):
            if not value >= 0:
                raise UsageError(f"WeightedElbo: {name} must be at least 0, got {value}.")
        self.kl_weight, self.warmup_steps = kl_weight, warmup_steps
        self.free_bits, self.kl = free_bits, kl
        plain = kl_weight == 1 and not warmup_steps and not free_bits
        self.kind = Likelihood.BOUND if plain else Likelihood.NONE
        self.rows_coupled = free_bits > 0
        self.register_buffer("beta", torch.tensor(float(kl_weight)), persistent=False)
        self.at_step(0)

    def at_step(self, step: int) -> None:
        """Move beta along its warm-up; no host sync."""
        if self.warmup_steps:
            self.beta.fill_(self.kl_weight * min(1.0, step / self.warmup_steps))

    def forward(self, model: "LatentModel", batch: Batch, draws: Draws) -> LossTerms:  # type: ignore[override]
        """The loss terms of one batch."""
        scored = score(model, batch, draws, closed_form=self.kl == "auto")
        total = scored.decoded.total
        if scored.kl is not None:
            total = total + self.beta.to(scored.kl.dtype) * self._freed(scored.kl)
        return scored.reported(total)

    def _freed(self, kl: Tensor) -> Tensor:
        if not self.free_bits:
            return kl
        return kl.where(kl.mean() > self.free_bits, torch.full_like(kl, self.free_bits))
