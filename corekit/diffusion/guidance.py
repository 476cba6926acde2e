r"""Guidance: samples that fit their condition better than the model of it alone would make them.

Both ways move the score :math:`\nabla \log p(x_t) = -\varepsilon / \sigma`; what moves it is a
network that was trained without a condition too (`guided`), or a classifier of noisy data
(`classifier_guided`).
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from corekit.diffusion.predicting import predict_with
from corekit.diffusion.process import NO_SIGNAL, mean_of_step, prediction_of
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.records import Condition, NoiseLevel, Prediction, Shift
from corekit.interfaces.sampler import Predict


class Guidance(NamedTuple):
    """How much a denoiser is guided by what it says without a condition: see `guided`."""

    scale: float = 0.0
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def of(self, denoiser: Denoiser, condition: Condition | None) -> Callable[..., Prediction]:
        """The denoiser with its condition bound; guided, unless the scale is 0."""
        if self.scale == 0:
            return predict_with(denoiser.prepared(condition), condition)
        return guided(denoiser, condition, *self)


def guided(
    denoiser: Denoiser,
    condition: Condition | None,
    scale: float,
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
) -> Callable[..., Prediction]:
    r"""Classifier-free guidance, with both answers of the denoiser from one call of twice the rows.

    .. math:: \tilde y = (1 + w)\, y(x_t, c) - w\, y(x_t)

    of the raw output y, whatever it predicts; a learned variance is that with the condition. The
    score is then that of :math:`p(x_t \mid c)\, p(c \mid x_t)^w`. Without a condition means
    `Condition.drop`, which training must have shown (``drop_condition``).

    Args:
        denoiser: Of a condition.
        condition: What samples shall fit.
        scale: w of Ho and Salimans: 0 is the model itself, -1 the model without a condition. Where
            1 is the model itself (Imagen, Stable Diffusion), it is 1 + w.
        interval: Ratios sigma / alpha between which to guide, as sigma of EDM; None: everywhere.
        rescale: phi in [0, 1]: how far the standard deviation of each row's guided output is
            brought back to that with the condition. Against pictures that are too bright.

    Shape: x_t ``(B, *event_shape)``, and the fields of the condition ``(B, ...)``.

    Raises:
        UsageError: If there is no condition, or an option is out of range.

    Source: Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, eq. 6,
        https://arxiv.org/abs/2207.12598. interval: Kynkaanniemi et al., Applying Guidance in a
        Limited Interval, NeurIPS 2024, https://arxiv.org/abs/2404.07724. rescale: Lin et al.,
        Common Diffusion Noise Schedules and Sample Steps are Flawed, WACV 2024, eq. 15-16,
        https://arxiv.org/abs/2305.08891.
    """
    if not 0 <= rescale <= 1 or not math.isfinite(scale):
        raise UsageError(
            f"guided: scale must be a number and rescale lie in [0, 1], got {scale} and {rescale}."
        )
    both = _with_and_without(condition)
    net, axis = denoiser.prepared(both), 1 + denoiser.channel_axis

    def predict(x_t: Tensor, level: NoiseLevel, *, previous: Tensor | None = None) -> Prediction:
        twice = level.map(lambda column: torch.cat((column, column)))
        seen = None if previous is None else torch.cat((previous, previous))
        output, without = net(torch.cat((x_t, x_t)), twice, both, previous=seen).chunk(2)
        said = output
        if denoiser.learns_variance:
            (output, variance), without = output.chunk(2, axis), without.chunk(2, axis)[0]
        weight = _weight(scale, interval, level).to(output.dtype)
        moved = output + weight.reshape(-1, *(1,) * (output.ndim - 1)) * (output - without)
        if rescale:
            moved = rescale * _spread_as(output, moved) + (1 - rescale) * moved
        if denoiser.learns_variance:
            moved = torch.cat((moved, variance), axis)
        return prediction_of(denoiser, moved.to(said.dtype), x_t, level)

    return predict


def classifier_guided(
    predict: Predict,
    log_prob: Callable[[Tensor, NoiseLevel], Tensor],
    scale: float = 1.0,
    *,
    at: Literal["x_t", "mean"] = "x_t",
) -> Predict:
    r"""Guide by the gradient g of the log-probability that noisy data have a property.

    .. math:: \tilde\varepsilon = \varepsilon - \sigma g, \qquad g = w \nabla \log p(y \mid x_t)

    That is the prediction for every sampler of an ODE. A sampler that draws from
    :math:`q(x_s \mid x_t)` leaves eps as it was and shifts the mean of what it draws by
    :math:`s^2 g`, with its variance :math:`s^2`. Put clipping inside: it would undo this one.

    Args:
        predict: Of the model, perhaps `corekit.diffusion.predicting.thresholded`.
        log_prob: (x, level) -> ``(B,)``, log p(y | x) of noisy data; gradients are taken here, also
            where samplers take none.
        scale: w.
        at: Where the gradient is taken: at x_t, as guided-diffusion does it; or at the mean of the
            step back, around which the shift is an expansion.

    Source: Dhariwal and Nichol, Diffusion Models Beat GANs, NeurIPS 2021, alg. 1 and 2,
        https://arxiv.org/abs/2105.05233.
    """
    if at not in ("x_t", "mean"):
        raise UsageError(f"classifier_guided: at must be x_t or mean, got {at!r}.")

    def shifted(x_t: Tensor, level: NoiseLevel) -> Prediction:
        plain = predict(x_t, level)
        point = x_t
        if at == "mean":
            if level.reverse is None:
                raise UsageError(
                    "classifier_guided: the mean of a step back must be known, got a level "
                    'without one. Use the sampler ancestral or ddim, or at="x_t".'
                )
            point = mean_of_step(plain.x_0, x_t, level.reverse)
        with torch.enable_grad():
            point = point.detach().requires_grad_()
            gradient = scale * torch.autograd.grad(log_prob(point, level).sum(), point)[0]
        alpha, sigma = (
            v.to(x_t.dtype).reshape(-1, *(1,) * (x_t.ndim - 1)) for v in (level.alpha, level.sigma)
        )
        step = torch.where(alpha < NO_SIGNAL, 0, sigma) * gradient  # pure noise has no property
        eps, x_0 = plain.eps - step, plain.x_0 + sigma / alpha.clamp(min=NO_SIGNAL) * step
        return Prediction(x_0, eps, plain.log_variance, Shift(plain.x_0, plain.eps, gradient))

    return shifted


def _with_and_without(condition: Condition | None) -> Condition:
    """The rows of a condition, and as many without one."""
    if condition is None or not any(value is not None for value in condition):
        raise UsageError(
            "guided: guidance must have a condition to leave out, got none. Train on data with "
            "labels or another condition, and with drop_condition."
        )
    some = next(value for value in condition if value is not None)
    all_rows = torch.ones(len(some), dtype=torch.bool, device=some.device)
    return _joined(condition, condition.drop(all_rows))


def _joined(first: Condition, second: Condition) -> Condition:
    """The rows of two conditions, of the same fields."""
    pairs = zip(first, second, strict=True)
    return Condition(*(None if a is None or b is None else torch.cat((a, b)) for a, b in pairs))


def _weight(scale: float, interval: tuple[float, float] | None, level: NoiseLevel) -> Tensor:
    """w of each row."""
    weight = torch.full_like(level.sigma, scale)
    if interval is None:
        return weight
    ratio = level.sigma / level.alpha
    inside = (ratio >= interval[0]) & (ratio <= interval[1])
    return torch.where(inside, weight, torch.zeros_like(weight))


def _spread_as(wanted: Tensor, value: Tensor) -> Tensor:
    """The value with the standard deviation that each row of another has."""
    axes = tuple(range(1, value.ndim))
    deviations = (v.std(axes, keepdim=True, correction=0) for v in (wanted, value))
    ours, theirs = (d.clamp(min=torch.finfo(value.dtype).tiny) for d in deviations)
    return value * (ours / theirs)
