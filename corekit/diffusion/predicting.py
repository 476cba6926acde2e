"""A denoiser as samplers see it, and what may be put around it: predict -> predict."""

from torch import Tensor

from corekit.diffusion.process import prediction_of, to_prediction
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.records import Condition, NoiseLevel, Prediction
from corekit.interfaces.sampler import Predict


def predict_with(denoiser: Denoiser, condition: Condition | None = None) -> Predict:
    """The denoiser as samplers want it: (x_t, level) -> `Prediction`, condition bound."""

    def predict(x_t: Tensor, level: NoiseLevel) -> Prediction:
        return prediction_of(denoiser, denoiser(x_t, level, condition), x_t, level)

    return predict


def thresholded(predict: Predict, low: float, high: float) -> Predict:
    r"""Clip x_0 to [low, high] and let eps follow from x_t.

    .. math:: \varepsilon = (x_t - \alpha x_0) / \sigma

    Source: Ho et al. 2020, sec. 3.2; Nichol and Dhariwal, Improved DDPM, ICML 2021
        (``clip_denoised``), https://arxiv.org/abs/2102.09672.
    """

    def clipped(x_t: Tensor, level: NoiseLevel) -> Prediction:
        prediction = predict(x_t, level)
        x_0 = prediction.x_0.clamp(low, high)
        eps = to_prediction(x_0, "x_0", x_t, level).eps
        return Prediction(x_0, eps, prediction.log_variance)

    return clipped
