"""Whole models with one mistake each."""

from functools import partial

import torch

from corekit.errors import ShapeError
from corekit.flows.linear import Linear
from corekit.flows.model import FlowModel
from corekit.interfaces.likelihood import Likelihood
from teeth import Tooth


class Right(FlowModel):
    """A linear flow."""

    def __init__(self, data):
        if len(data.event_shape) != 1:
            raise ShapeError(f"Right: the event must be (features,), got {data.event_shape}.")
        super().__init__(data, bijector=Linear)


class MeanOverTheBatch(Right):
    def forward(self, batch, *, phase="main", draws=None):
        terms = super().forward(batch, draws=draws)
        return terms._replace(total=terms.total.mean())


class SeenByNobody(Right):
    def forward(self, batch, *, phase="main", draws=None):
        terms = super().forward(batch, draws=draws)
        seen = {"density.timesteps": (terms.total.detach(), terms.total.detach())}
        return terms._replace(seen=seen)


class CallsItselfABound(Right):
    def __init__(self, data):
        super().__init__(data)
        self.kind = Likelihood.BOUND


class DeafToItsGenerator(Right):
    def sample(self, n, condition=None, **options):
        return super().sample(n, condition)


class EncodesToTheMean(Right):
    def encode(self, x, condition=None):
        return super().encode(x, condition).mean(0)


class MisspeltEntryPoint(Right):
    entry_points = ("sample", "log_probs")


class RowsShareTheLoss(Right):
    def forward(self, batch, *, phase="main", draws=None):
        terms = super().forward(batch, draws=draws)
        return terms._replace(total=terms.total - terms.total.sum() / 2)


class UntrainedBias(Right):
    def __init__(self, data):
        super().__init__(data)
        self.extra = torch.nn.Parameter(torch.ones(2))


class TwoPhases(Right):
    """The second phase trains the bias."""

    phases = ("main", "bias")

    def phase_of(self, name):
        return "bias" if name.endswith("bias") else "main"


class ScoresPhasesAlike(TwoPhases):
    def phase_of(self, name):
        return "main"


class UnknownPhase(TwoPhases):
    def phase_of(self, name):
        return "biases"


class NoMainPhase(TwoPhases):
    phases = ("weights", "bias")

    def phase_of(self, name):
        return "bias" if name.endswith("bias") else "weights"


class PhaseWithoutAGradient(TwoPhases):
    def forward(self, batch, *, phase="main", draws=None):
        terms = super().forward(batch, draws=draws)
        detached = terms.total.detach() + 0 * self.density.bijector.weight.sum()
        return terms if phase == "main" else terms._replace(total=detached)


_bug = partial(Tooth, "model")
RIGHT = [Right, TwoPhases]
TEETH = [
    _bug("the total is a mean over the batch", MeanOverTheBatch, "the_loss_has_terms_with_units"),
    _bug("losses are seen for no part", SeenByNobody, "what_is_seen_leads_to_a_part"),
    _bug("another kind than it gives", CallsItselfABound, "its_likelihood_is_what_it_declares"),
    _bug("samples ignore the generator", DeafToItsGenerator, "samples_are_as_declared"),
    _bug("one latent for the batch", EncodesToTheMean, "data_are_encoded_and_reconstructed"),
    _bug("an entry point is misspelt", MisspeltEntryPoint, "entry_points_are_methods"),
    _bug("the loss of a row depends on others", RowsShareTheLoss, "rows_do_not_mix"),
    _bug("a parameter is not trained", UntrainedBias, "gradients_reach_every_parameter"),
    _bug("a phase has no parameters", ScoresPhasesAlike, "every_phase_has_a_loss_and_parameters"),
    _bug("a parameter is in no phase", UnknownPhase, "every_phase_has_a_loss_and_parameters"),
    _bug("no phase is main", NoMainPhase, "every_phase_has_a_loss_and_parameters"),
    _bug("a phase moves nothing", PhaseWithoutAGradient, "every_phase_has_a_loss_and_parameters"),
]
