"""The evidence lower bound: weighted, annealed, with free bits, or held at a capacity."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.likelihood import Likelihood
from corekit.latent.kl import kl_of_elements
from corekit.latent.scoring import Scored
from corekit_vae.objectives.base import Kl, Objective
from corekit_vae.scheduled import Given

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


class Elbo(Objective):
    r"""Reconstruction and a KL that may be weighted, partly free, or held at a capacity.

    .. math::
        L = D(x \mid z) + \beta K, \qquad
        K = \sum_g \max(\lambda, \mathrm{KL}_g) \quad\text{or}\quad K = |\mathrm{KL} - C|

    with beta = 1, lambda = 0 and no C: minus the evidence lower bound, if D is in nats. KL_g is
    that of a group of elements of z, as a mean over the minibatch unless ``per_row``.

    Args:
        kl_weight: beta, a number or a schedule (annealing).
        kl: How the KL is computed (`Objective`).
        free_bits: lambda, nats of each group that cost nothing.
        groups: Into how many groups of neighbouring elements z is divided; 1 is the KL as a whole,
            None makes each element one.
        capacity: C in nats, a number or a schedule; None for none.
        per_row: Take free bits and capacity row by row, not of the mean over the minibatch.

    Shape: total ``(B,)``; the KL in nats, the rest in the unit of the decoder.

    Raises:
        UsageError: If an option is negative; if the KL of groups is asked for and has no closed
            form; if there are free bits and a capacity.

    Source: Kingma and Welling, ICLR 2014, https://arxiv.org/abs/1312.6114; free bits: Kingma et
        al., NeurIPS 2016, eq. 15, https://arxiv.org/abs/1606.04934; capacity: Burgess et al.,
        2018, eq. 8, https://arxiv.org/abs/1804.03599.
    """

    def __init__(
        self,
        *,
        kl_weight: Given = 1.0,
        kl: Kl = "auto",
        free_bits: float = 0.0,
        groups: int | None = 1,
        capacity: Given | None = None,
        per_row: bool = False,
    ) -> None:
        super().__init__(kl_weight=kl_weight, kl=kl)
        if not free_bits >= 0:
            raise UsageError(f"Elbo: free_bits must be at least 0, got {free_bits}.")
        if groups is not None and groups < 1:
            raise UsageError(f"Elbo: groups must be at least 1, or null, got {groups}.")
        if free_bits and capacity is not None:
            raise UsageError(
                f"Elbo: free_bits must be 0 beside a capacity, got {free_bits}. Both say how many "
                "nats the KL may have: leave one out."
            )
        if free_bits and groups != 1 and kl != "auto":
            raise UsageError(
                f"Elbo: kl must be auto where groups have free bits, got '{kl}'. One draw has no "
                "KL of a group."
            )
        self.free_bits, self.groups, self.per_row = free_bits, groups, per_row
        self.capacity = None if capacity is None else self.scheduled("capacity", capacity)
        shaped = bool(free_bits) or capacity is not None
        plain = self.kl_weight.constant == 1 and not shaped
        self.kind = Likelihood.BOUND if plain else Likelihood.NONE
        self.rows_coupled = shaped and not per_row

    def divergence(self, scored: Scored, model: "LatentModel") -> Tensor | None:
        """beta K, ``(B,)``."""
        if scored.kl is None or self.kl_weight.constant == 0:
            return None
        kl = scored.kl
        if self.free_bits:
            kl = self._freed(kl[:, None] if self.groups == 1 else self._grouped(scored, model))
        elif self.capacity is not None:
            mean = kl if self.per_row else kl.mean().expand_as(kl)
            kl = (mean - self.capacity(kl)).abs()
        return self.kl_weight(kl) * kl

    def _freed(self, kl: Tensor) -> Tensor:
        """``(B, G)`` to ``(B,)``; its mean is the sum of max(lambda, KL_g)."""
        if self.per_row:
            return kl.clamp(min=self.free_bits).sum(1)
        free = torch.full_like(kl, self.free_bits)
        return kl.where(kl.mean(0) > self.free_bits, free).sum(1)

    def _grouped(self, scored: Scored, model: "LatentModel") -> Tensor:
        """The KL of each group, ``(B, G)``."""
        elements = None
        if model.prior is not None:
            given = model.for_prior(scored.given)
            elements = kl_of_elements(scored.posterior, model.prior, given)
        if elements is None:
            raise UsageError(
                "Elbo: free bits of groups must have a posterior and a prior that are products "
                f"over elements, got {type(scored.posterior).__name__} and "
                f"{type(model.prior).__name__}. Set groups to 1."
            )
        elements = elements.flatten(1)
        groups = elements.shape[1] if self.groups is None else self.groups
        if elements.shape[1] % groups:
            raise UsageError(
                f"Elbo: groups must divide the {elements.shape[1]} elements of the latent, "
                f"got {groups}."
            )
        return elements.unflatten(1, (groups, -1)).sum(2)


def beta(
    *,
    form: Literal["h", "b"] = "h",
    beta: Given = 4.0,
    gamma: Given = 1000.0,
    max_capacity: float = 25.0,
    capacity_steps: int = 100_000,
    kl: Kl = "auto",
    per_row: bool = False,
) -> Elbo:
    r"""beta-VAE: a heavier KL (H), or one that is held at a capacity which grows (B).

    .. math:: L_H = D + \beta\, \mathrm{KL}, \qquad
        L_B = D + \gamma\, |\mathrm{KL} - C|, \quad C = C_{max} \min(1, s / n)

    Args:
        form: h or b.
        beta: Of form h; a number or a schedule.
        gamma: Of form b; a number or a schedule.
        max_capacity: C_max of form b, nats.
        capacity_steps: n of form b: optimizer steps until C is there.
        kl: How the KL is computed (`Objective`).
        per_row: Of form b: the distance of each row, not of the mean over the minibatch.

    Raises:
        UsageError: If form is another.

    Source: Higgins et al., beta-VAE, ICLR 2017, eq. 4, https://openreview.net/forum?id=Sy2fzU9gl;
        Burgess et al., Understanding disentangling in beta-VAE, 2018, eq. 8,
        https://arxiv.org/abs/1804.03599.
    """
    if form not in ("h", "b"):
        raise UsageError(f"beta: form must be h or b, got {form!r}.")
    if form == "h":
        return Elbo(kl_weight=beta, kl=kl)
    capacity = {"start": 0.0, "end": max_capacity, "steps": capacity_steps}
    return Elbo(kl_weight=gamma, kl=kl, capacity=capacity, per_row=per_row)
