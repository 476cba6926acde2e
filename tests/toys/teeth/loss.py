"""Losses of a latent model with one mistake each."""

from functools import partial

import torch
from torch import nn

from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.loss import Loss
from corekit.interfaces.records import Condition, LossTerms
from teeth import Tooth


class Right(Loss):
    """The evidence lower bound of a diagonal Gaussian posterior and a standard normal prior."""

    kind = Likelihood.BOUND

    def kl(self, q):
        return 0.5 * (q.mu.square() + q.log_var.exp() - q.log_var - 1).sum(1)

    def reconstruction(self, model, x, z, draws):
        return model.decoder.loss(x, Condition(vector=z.to(x.dtype)), draws).total

    def forward(self, model, batch, draws):
        q = model.encoder(batch.x)
        z, _ = q.rsample_and_log_prob(draws)
        terms = {"reconstruction": self.reconstruction(model, batch.x, z, draws), "kl": self.kl(q)}
        return LossTerms(self.total(terms), terms, units=dict.fromkeys(terms, "nats"))

    def total(self, terms):
        return terms["reconstruction"] + terms["kl"]


class MissingHalf(Right):
    def kl(self, q):
        return 2 * super().kl(q)


class KlWithoutTheVariance(Right):
    def kl(self, q):
        return 0.5 * (q.mu.square() - q.log_var - 1).sum(1)


class KlBackwards(Right):
    """KL(p || q) for KL(q || p)."""

    def kl(self, q):
        return 0.5 * ((1 + q.mu.square()) * (-q.log_var).exp() + q.log_var - 1).sum(1)


class WeightedCalledABound(Right):
    def total(self, terms):
        return terms["reconstruction"] + 0.1 * terms["kl"]


class MeanOverTheData(Right):
    def reconstruction(self, model, x, z, draws):
        return super().reconstruction(model, x, z, draws) / x.shape[1]


class DetachedLatent(Right):
    def reconstruction(self, model, x, z, draws):
        return super().reconstruction(model, x, z.detach(), draws)

    def kl(self, q):
        return super().kl(q).detach()


class BatchTotal(Right):
    def total(self, terms):
        return super().total(terms).sum().expand(len(terms["kl"]))


class CountsCalls(Right):
    """A warm-up that counts how often it was told the step, not the step."""

    kind = Likelihood.NONE

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def at_step(self, step):
        self.calls.add_(1)

    def total(self, terms):
        return terms["reconstruction"] + (self.calls / 10).clamp(max=1) * terms["kl"]


class NoUnits(Right):
    def forward(self, model, batch, draws):
        return super().forward(model, batch, draws)._replace(units={})


class LooseWeight(Right):
    def __init__(self):
        super().__init__()
        self.weight = torch.tensor(1.0)

    def total(self, terms):
        return self.weight * super().total(terms)


class UntrainedWeight(Right):
    def __init__(self):
        super().__init__()
        self.log_weight = nn.Parameter(torch.zeros(()))

    def total(self, terms):
        return super().total(terms) + self.log_weight.detach()


_bug = partial(Tooth, "loss")
RIGHT = [Right]
TEETH = [
    _bug("the KL lacks its half", MissingHalf, "the_bound_is_tight_at_the_exact_posterior"),
    _bug(
        "the KL lacks the variance",
        KlWithoutTheVariance,
        "the_bound_is_tight_at_the_exact_posterior",
    ),
    _bug("the KL runs the other way", KlBackwards, "the_bound_is_tight_at_the_exact_posterior"),
    _bug(
        "a weighted KL claims to be a bound",
        WeightedCalledABound,
        "it_is_the_bound_that_it_claims_to_be",
    ),
    _bug(
        "the reconstruction is a mean over the data",
        MeanOverTheData,
        "it_is_the_bound_that_it_claims_to_be",
    ),
    _bug("the encoder gets no gradient", DetachedLatent, "it_trains_every_part"),
    _bug("the total is summed over the batch", BatchTotal, "rows_do_not_mix"),
    _bug(
        "a warm-up counts calls, not steps", CountsCalls, "its_schedule_depends_on_the_step_alone"
    ),
    _bug("terms have no units", NoUnits, "it_has_terms_with_units"),
    _bug("the weight is a plain tensor", LooseWeight, "every_tensor_is_a_parameter_or_a_buffer"),
    _bug("a parameter is detached", UntrainedWeight, "gradients_reach_every_parameter"),
]
