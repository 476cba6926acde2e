"""A denoiser as samplers see it, and what may be put around it: predict -> predict."""

import math
from collections.abc import Callable

from torch import Tensor

from corekit.diffusion.process import prediction_of, to_prediction
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.records import Condition, NoiseLevel, Prediction
from corekit.interfaces.sampler import Predict


def predict_with(denoiser: Denoiser, condition: Condition | None = None) -> Predict:
    """The denoiser as samplers want it: (x_t, level) -> `Prediction`, condition bound.

    ``previous``, an earlier estimate of x_0, may be given too, by name (`self_conditioned`).
    """

    def predict(x_t: Tensor, level: NoiseLevel, *, previous: Tensor | None = None) -> Prediction:
        output = denoiser(x_t, level, condition, previous=previous)
        return prediction_of(denoiser, output, x_t, level)

    return predict


def self_conditioned(predict: Callable[..., Prediction]) -> Predict:
    """Give each call the estimate of x_0 that the call before it made.

    For one run of a sampler: the first call has none. Not for bounds, whose x_t are not steps of
    one run: an estimate from another would tell of x_0 what x_t does not.

    Args:
        predict: As of `predict_with`, of a denoiser with ``self_condition``.

    Source: Chen et al., Analog Bits, ICLR 2023, alg. 2, https://arxiv.org/abs/2208.04202.
    """
    last: Tensor | None = None

    def fed(x_t: Tensor, level: NoiseLevel) -> Prediction:
        nonlocal last
        prediction = predict(x_t, level, previous=last)
        last = prediction.x_0
        return prediction

    return fed


def denoised(predict: Predict, function: Callable[[Tensor], Tensor]) -> Predict:
    r"""Put a function of x_0 in the place of x_0, and let eps follow from x_t.

    .. math:: \varepsilon = (x_t - \alpha x_0) / \sigma

    Args:
        predict: (x_t, level) -> `Prediction`.
        function: From x_0 to x_0: clipping, rounding to what data can be.

    Source: improved-diffusion, gaussian_diffusion.py (``denoised_fn``).
    """

    def changed(x_t: Tensor, level: NoiseLevel) -> Prediction:
        prediction = predict(x_t, level)
        told = to_prediction(function(prediction.x_0), "x_0", x_t, level)
        return told._replace(log_variance=prediction.log_variance)

    return changed


def thresholded(predict: Predict, low: float, high: float) -> Predict:
    """Clip x_0 to [low, high]: `denoised`.

    Source: Ho et al. 2020, sec. 3.2; Nichol and Dhariwal, Improved DDPM, ICML 2021
        (``clip_denoised``), https://arxiv.org/abs/2102.09672.
    """
    return denoised(predict, lambda x_0: x_0.clamp(low, high))


def dynamically_thresholded(
    predict: Predict, low: float, high: float, *, quantile: float = 0.995
) -> Predict:
    r"""Shrink the rows of x_0 that leave [low, high] to fit it, but for their outliers.

    With c the middle and h half the length of the range, of each row

    .. math:: x_0' = c + \frac{h}{s} \mathrm{clip}(x_0 - c,\, -s,\, s), \qquad
        s = \max\big(h,\; \text{quantile of } |x_0 - c|\big)

    Unlike `thresholded` it does not press what strong guidance drives out of the range flat.

    Args:
        predict: (x_t, level) -> `Prediction`.
        low: Least value of the data.
        high: Highest value.
        quantile: The share of the numbers of a row that may decide how far it is shrunk: s is the
            least of them that so many do not exceed.

    Source: Saharia et al., Imagen, NeurIPS 2022, sec. 2.3, https://arxiv.org/abs/2205.11487.
    """
    if not 0 < quantile <= 1:
        raise UsageError(f"dynamically_thresholded: quantile must lie in (0, 1], got {quantile}.")
    middle, half = (low + high) / 2, (high - low) / 2

    def fitted(x_0: Tensor) -> Tensor:
        far = x_0 - middle
        rows = far.abs().flatten(1)
        size = rows.kthvalue(math.ceil(quantile * rows.shape[1]), dim=1).values.clamp(min=half)
        size = size.reshape(-1, *(1,) * (x_0.ndim - 1))
        return middle + half * (far / size).clamp(-1, 1)

    return denoised(predict, fitted)
