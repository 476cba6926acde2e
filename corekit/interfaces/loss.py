"""The two Loss interfaces: of a whole latent model, and of one denoising prediction."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from corekit.data_spec import DataSpec
from corekit.errors import PluginError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.names import MAIN
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.records import Batch, LossTerms, NoiseLevel, Prediction

if TYPE_CHECKING:
    from corekit.interfaces.model import GenerativeModel


class Loss(nn.Module, ABC):
    """What a whole model minimises: (model, batch) -> `LossTerms`.

    **Implement one.** Write ``forward``. Every term has a name and a unit; reductions are sums over
    the event and nothing over the batch, unless the name says otherwise. A loss with a schedule
    keeps it in a buffer and moves it in ``at_step``, which the trainer calls once per step.

    Attributes:
        kind: What minus the total says about log p(x), of a model whose parts have likelihoods:
            ``bound`` for an evidence lower bound, ``none`` for a weighted one.
        rows_coupled: Whether the total of a row depends on the others in its batch.
        phases: Training phases in the order of a step (`GenerativeModel.phases`), where a network
            of the loss is trained against the model.
    """

    kind: Likelihood = Likelihood.NONE
    rows_coupled: bool = False
    phases: tuple[str, ...] = (MAIN,)

    def prepare(self, model: "GenerativeModel") -> None:
        """Called once by the model that it trains, when the parts of that model are there.

        A loss with a network of its own builds it here. By default it does nothing.
        """

    @abstractmethod
    def forward(self, model: "GenerativeModel", batch: Batch, draws: Draws) -> LossTerms:
        """The loss terms of one batch."""

    def of_phase(
        self, phase: str, model: "GenerativeModel", batch: Batch, draws: Draws
    ) -> LossTerms:
        """The loss terms of a phase that is not ``main``: what an adversary learns from."""
        raise PluginError(
            f"{type(self).__name__}: must write of_phase for its phase '{phase}', got none. A bug "
            "of the package of the loss."
        )

    def phase_of(self, name: str) -> str:
        """The phase that trains a parameter of this loss, by its name."""
        return MAIN

    def at_step(self, step: int) -> None:
        """Called before each optimizer step with the number of steps taken so far."""


class DenoisingLoss(nn.Module, ABC):
    """Scores one prediction of a denoiser.

    **Implement one.** Write ``forward``; set ``unit`` and ``name``.

    Attributes:
        name: What logs call it.
        unit: What it is measured in: "squared error per coordinate", "nats".
        is_error: It is never negative, and 0 where the prediction is the truth.
        seeks_mean: Its expectation is least where the prediction is E[x_0 | x_t], which is what
            samplers take a prediction for. Squared errors do; absolute ones seek a median.
        trains_variance: A variance that the denoiser learns has a gradient.

    Shape: x_0, x_t, eps ``(B, *event_shape)``; result ``(B,)``, float32 or wider.
    """

    name: str = "denoising"
    unit: str
    is_error: bool = True
    seeks_mean: bool = True
    trains_variance: bool = False

    def prepare(self, schedule: NoiseSchedule, data: DataSpec | None = None) -> None:
        """Called once by the density that it trains, with its schedule and what the data are.

        By default it does nothing. Data are None where they are latents.
        """

    @abstractmethod
    def forward(
        self, prediction: Prediction, x_0: Tensor, x_t: Tensor, eps: Tensor, level: NoiseLevel
    ) -> Tensor:
        """The loss of each row, before the weight of its timestep."""
