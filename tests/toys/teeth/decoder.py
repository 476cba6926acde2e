"""Decoders with one mistake each."""

from functools import partial

import torch

from corekit.latent.decoders import GaussianDecoder
from teeth import Tooth


class MeanOfAnother(GaussianDecoder):
    def _sample(self, n, condition, shape, temperature, draws, **options):
        return super()._sample(n, condition, shape, temperature, draws) * 1.1


class BatchFirst(GaussianDecoder):
    """Takes the latent of the first row for every row."""

    def mean(self, condition):
        return (
            super()
            .mean(condition._replace(vector=condition.vector[:1]))
            .expand(len(condition.vector), *self.event_shape)
        )


class AsksForNothing(GaussianDecoder):
    def __init__(self, event_shape, latent_shape):
        super().__init__(event_shape, latent_shape, hidden=(8,))
        self.condition_shapes = {"vector": (latent_shape[0] + 1,)}


class ScaleIsAVariance(GaussianDecoder):
    """Scores with s^2 where s belongs, and draws with s."""

    def _log_prob(self, x, condition, draws):
        kept = self.log_scale.clone()
        with torch.no_grad():
            self.log_scale.mul_(2)
        got = super()._log_prob(x, condition, draws)
        with torch.no_grad():
            self.log_scale.copy_(kept)
        return got


def _bug(bug, decoder, caught_by, **options):
    return Tooth("decoder", bug, partial(decoder, **options), caught_by)


RIGHT = [partial(GaussianDecoder, hidden=(8,), scale=0.5)]
TEETH = [
    _bug(
        "mean and samples disagree", MeanOfAnother, "the_mean_is_that_of_the_samples", hidden=(8,)
    ),
    _bug("every row gets the first latent", BatchFirst, "rows_do_not_mix", hidden=(8,)),
    _bug("it asks for another latent", AsksForNothing, "it_asks_for_the_latent"),
    _bug(
        "s for s^2 in the density",
        ScaleIsAVariance,
        "samples_obey_the_stein_identities",
        scale=0.5,
    ),
]
