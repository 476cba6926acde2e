"""An objective with a judge: a network that learns against the model, in a phase of its own."""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import softplus

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.names import MAIN
from corekit.interfaces.network import Network
from corekit.interfaces.precision import wide
from corekit.interfaces.records import Batch, LossTerms
from corekit.nn.mlp import Mlp
from corekit_vae.objectives.base import Kl, Objective
from corekit_vae.scheduled import Given

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel

NATS = "nats of the judge"


def default_judge(in_shape: Shape, out_shape: Shape, context_shape: Shape | None) -> Network:
    """Three hidden layers of 256, and a logit that is 0 at first: the judge does not know."""
    hidden = (256, 256, 256)
    return Mlp(in_shape, out_shape, context_shape, hidden=hidden, activation="leaky_relu")


class Adversarial(Objective):
    r"""Reconstruction, KL, and a term that a judge s gives.

    The judge minimises, in its own phase and with its own optimizer,

    .. math:: \tfrac12 E[\log(1 + e^{-s(a)})] + \tfrac12 E[\log(1 + e^{s(b)})]

    so that s is the log-odds of a against b. **Write one**: ``phases``, ``judged``, ``pair`` and
    ``terms``.

    Args:
        weight: Of the term, a number or a schedule: with a ``delay`` the judge learns first.
        judge: Factory of its network; a perceptron unless given.
        kl_weight: Of the KL, a number or a schedule.
        kl: How the KL is computed (`Objective`).
    """

    judge: Network | None

    def __init__(
        self, *, weight: Given, judge: Callable[..., Network] | None, kl_weight: Given, kl: Kl
    ) -> None:
        super().__init__(kl_weight=kl_weight, kl=kl)
        self._make, self.judge = judge or default_judge, None
        self.weight = self.scheduled("weight", weight)

    def prepare(self, model: "LatentModel") -> None:  # type: ignore[override]
        """Build the judge."""
        super().prepare(model)
        in_shape, out_shape = self.judged(model)
        self.judge = self._make(in_shape=in_shape, out_shape=out_shape, context_shape=None)

    def phase_of(self, name: str) -> str:
        """The judge has the other phase."""
        (own,) = (phase for phase in self.phases if phase != MAIN)
        return own if name.startswith("judge.") else MAIN

    def of_phase(self, phase: str, model: "LatentModel", batch: Batch, draws: Draws) -> LossTerms:  # type: ignore[override]
        """What the judge learns from, ``(B,)``."""
        a, b = self.pair(model, batch, draws)
        terms = {"true": softplus(-self.logit(a)), "false": softplus(self.logit(b))}
        units = dict.fromkeys(terms, NATS)
        return LossTerms(0.5 * (terms["true"] + terms["false"]), terms, units=units)

    def logit(self, x: Tensor) -> Tensor:
        """s(x), ``(B,)``: of several logits their mean."""
        if self.judge is None:
            raise UsageError(
                f"{self.who}: prepare must be called before the loss, with the model that it is "
                "of. LatentModel(loss=...) does."
            )
        return wide(self.judge(x)).flatten(1).mean(1)

    @abstractmethod
    def judged(self, model: "LatentModel") -> tuple[Shape, Shape]:
        """Shapes of what the judge sees, and of its logits."""

    @abstractmethod
    def pair(self, model: "LatentModel", batch: Batch, draws: Draws) -> tuple[Tensor, Tensor]:
        """What it tells apart, without gradients to the model: a and b, ``(B, ...)`` each."""
