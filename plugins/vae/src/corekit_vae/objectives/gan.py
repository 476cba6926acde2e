"""VAE-GAN: a judge of data looks at reconstructions."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import softplus

from corekit.data_spec import Shape
from corekit.interfaces.draws import Draws
from corekit.interfaces.names import MAIN
from corekit.interfaces.network import Network
from corekit.interfaces.records import Batch
from corekit.latent.scoring import Scored
from corekit_vae.objectives.adversary import NATS, Adversarial
from corekit_vae.objectives.base import Kl, Term
from corekit_vae.scheduled import Given

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


class Gan(Adversarial):
    r"""An auto-encoder whose reconstructions are to pass for data.

    .. math::
        L = D + \beta\, \mathrm{KL} + w\, \log(1 + e^{-s(\hat x)}), \qquad
        \hat x = E[x \mid z]

    The judge s learns in the phase ``adversary`` to tell data from reconstructions. Of images it
    gives a logit for each pixel, of which the mean counts, and otherwise one.

    Args:
        weight: w, a number or a schedule.
        judge: Factory of s, a network from data to logits; a perceptron unless given. Convolutions
            (``convnet``) see patches.
        kl_weight: beta, a number or a schedule.
        kl: How the KL is computed (`Objective`).

    Raises:
        NoDensity: If the decoder has no mean.

    Source: Larsen et al., Autoencoding beyond Pixels, ICML 2016, https://arxiv.org/abs/1512.09300,
        without its distance of features; the loss of the generator: Goodfellow et al., NeurIPS
        2014, sec. 3, https://arxiv.org/abs/1406.2661; logits of patches: Isola et al., CVPR 2017,
        https://arxiv.org/abs/1611.07004.
    """

    phases = (MAIN, "adversary")

    def __init__(
        self,
        *,
        weight: Given = 0.1,
        judge: Callable[..., Network] | None = None,
        kl_weight: Given = 1.0,
        kl: Kl = "auto",
    ) -> None:
        super().__init__(weight=weight, judge=judge, kl_weight=kl_weight, kl=kl)

    def terms(
        self, scored: Scored, model: "LatentModel", batch: Batch, draws: Draws
    ) -> Mapping[str, Term]:
        """What it costs to be seen through, ``(B,)``."""
        made = _reconstructed(model, scored.z, scored.given)
        return {"adversarial": Term(self.weight, softplus(-self.logit(made)), NATS)}

    def judged(self, model: "LatentModel") -> tuple[Shape, Shape]:
        """Data, and a logit, or one for each pixel."""
        shape = model.data.event_shape
        return shape, (1, *shape[1:]) if len(shape) == 3 else (1,)

    @torch.no_grad()
    def pair(self, model: "LatentModel", batch: Batch, draws: Draws) -> tuple[Tensor, Tensor]:
        """Data, and reconstructions of them."""
        condition, given = model.told(batch.condition, draws)
        z, _ = model.encoder(batch.x, condition).rsample_and_log_prob(draws)
        return batch.x, _reconstructed(model, z.to(batch.x.dtype), given)


def _reconstructed(model: "LatentModel", z: Tensor, given: Tensor | None) -> Tensor:
    """E[x | z], as data are."""
    return model.decoder.restored(model.decoder.mean(model.beside(z, given)))
