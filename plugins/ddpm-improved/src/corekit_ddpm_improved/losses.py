"""Losses of one denoising prediction."""

import torch
from torch import Tensor

from corekit.diffusion.process import target_of
from corekit.interfaces.denoiser import Predicts
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.records import NoiseLevel, Prediction


class Mse(DenoisingLoss):
    r"""Mean squared error, averaged over the event.

    .. math:: \ell = \tfrac1D \sum_d (\hat y_d - y_d)^2, \qquad
        y \in \{\varepsilon,\; x_0,\; \alpha \varepsilon - \sigma x_0,\;
        \dot\alpha x_0 + \dot\sigma \varepsilon\}

    The prediction of any denoiser is converted, so the target is a choice of weights: an error in
    x_0 is 1 / SNR times one in eps, an error in v SNR + 1 times one in x_0 (variance preserved).

    Args:
        target: y: "eps", "x_0", "v" or "velocity".

    Shape: result ``(B,)``, squared error per coordinate; float64 if the event is, else float32.

    Source: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, eq. 14,
        https://arxiv.org/abs/2006.11239; v: Salimans and Ho, Progressive Distillation,
        ICLR 2022, sec. 4, https://arxiv.org/abs/2202.00512.
    """

    name = "mse"
    unit = "squared error per coordinate"

    def __init__(self, target: Predicts = "eps") -> None:
        super().__init__()
        self.target = target

    def forward(
        self, prediction: Prediction, x_0: Tensor, x_t: Tensor, eps: Tensor, level: NoiseLevel
    ) -> Tensor:
        """The squared error of each row."""
        predicted = target_of(self.target, prediction.x_0, prediction.eps, level)
        error = predicted - target_of(self.target, x_0, eps, level)
        wide = torch.promote_types(error.dtype, torch.float32)  # a mean in half precision is rough
        return error.to(wide).square().flatten(1).mean(1)
