r"""The Gaussian process of every diffusion model: what is known in closed form.

Data are noised by

.. math:: x_t = \alpha_t x_0 + \sigma_t \varepsilon, \qquad \varepsilon \sim N(0, I).

Nothing here asks for :math:`\alpha^2 + \sigma^2 = 1`: variance-preserving schedules and rectified
flow take the same path. For two levels t > s (t is noisier),

.. math::
    \alpha_{ts} = \alpha_t / \alpha_s, \qquad
    \sigma^2_{ts} = \sigma_t^2 - \alpha_{ts}^2 \sigma_s^2, \qquad
    q(x_t \mid x_s) = N(\alpha_{ts} x_s,\; \sigma^2_{ts} I), \qquad
    q(x_s \mid x_t, x_0) = N\Big(\tfrac{\alpha_{ts} \sigma_s^2}{\sigma_t^2} x_t
        + \tfrac{\alpha_s \sigma^2_{ts}}{\sigma_t^2} x_0,\;
        \tfrac{\sigma^2_{ts} \sigma_s^2}{\sigma_t^2} I\Big)

(Kingma et al., Variational Diffusion Models, NeurIPS 2021, app. A,
https://arxiv.org/abs/2107.00630).

A network predicts one tensor, and the pair (x_0, eps) follows from it and x_t. It may predict

- ``eps``: the noise (Ho et al. 2020)
- ``x_0``: the clean data
- ``v``: :math:`\alpha \varepsilon - \sigma x_0` (Salimans and Ho 2022)
- ``velocity``: :math:`\dot x_t = \dot\alpha x_0 + \dot\sigma \varepsilon` (Lipman et al. 2023)
- ``x_prev``: the mean of :math:`q(x_s \mid x_t, x_0)` of the step back from this level

It may also say, in a second half of its output, what the variance of that step is
(`corekit.interfaces.denoiser.Variance`).

Shape: x_0, x_t, eps ``(B, *event_shape)``; the fields of a level ``(B,)``, cast to the dtype of x.
"""

from typing import NamedTuple, get_args

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser, Predicts, Variance
from corekit.interfaces.records import NoiseLevel, Prediction, Reverse

NO_SIGNAL = 1e-7
"""An alpha below this is zero: beside noise of size 1, float32 keeps nothing of x_0."""


def q_sample(x_0: Tensor, eps: Tensor, level: NoiseLevel) -> Tensor:
    r"""A draw from the forward process: :math:`x_t = \alpha x_0 + \sigma \varepsilon`.

    Source: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, eq. 4,
        https://arxiv.org/abs/2006.11239.
    """
    return _per_row(level.alpha, x_0) * x_0 + _per_row(level.sigma, x_0) * eps


def q_mean_variance(x_0: Tensor, level: NoiseLevel) -> tuple[Tensor, Tensor]:
    r"""Mean :math:`\alpha x_0` and variance :math:`\sigma^2` of q(x_t | x_0), broadcastable."""
    return _per_row(level.alpha, x_0) * x_0, _per_row(level.sigma.square(), x_0)


def target_of(predicts: Predicts, x_0: Tensor, eps: Tensor, level: NoiseLevel) -> Tensor:
    """What a network that predicts ``predicts`` should have said: the list above."""
    if predicts == "eps":
        return eps
    if predicts == "x_0":
        return x_0
    a, b = _mixture(predicts, level, x_0)
    return a * x_0 + b * eps


def to_prediction(
    output: Tensor,
    predicts: Predicts,
    x_t: Tensor,
    level: NoiseLevel,
    variance: Variance = "fixed",
    channel_axis: int = 0,
) -> Prediction:
    r"""The clean data and the noise that a raw output y implies; the inverse of `target_of`.

    Every target is a mixture :math:`y = a x_0 + b \varepsilon`, and so is x_t; solved for the pair:

    .. math::
        x_0 = (b x_t - \sigma y) / D, \qquad \varepsilon = (\alpha y - a x_t) / D, \qquad
        D = \alpha b - \sigma a

    A second half v of the output along the channel axis is the log-variance of the step back, or
    lies between its two natural ones (`Reverse`), small and large:

    .. math:: \log s^2 = f \log s^2_{large} + (1 - f) \log s^2_{small}, \qquad f = (v + 1) / 2

    Raises:
        UsageError: If eps is predicted where alpha = 0: x_t holds nothing of x_0 there, and y
            does not either. Levels on an accelerator are not looked at (that would wait for it);
            `check_predicts` refuses such a pair of network and schedule beforehand.

    Source:
        v: Salimans and Ho, Progressive Distillation, ICLR 2022, app. D,
        https://arxiv.org/abs/2202.00512. velocity: Lipman et al., Flow Matching, ICLR 2023,
        eq. 8, https://arxiv.org/abs/2210.02747. Variances: Nichol and Dhariwal, Improved DDPM,
        ICML 2021, eq. 15, https://arxiv.org/abs/2102.09672.
    """
    if variance != "fixed":
        output, said = output.chunk(2, dim=1 + channel_axis)
        found = to_prediction(output, predicts, x_t, level)
        return found._replace(log_variance=_log_variance(said, variance, level))
    alpha, sigma = _per_row(level.alpha, x_t), _per_row(level.sigma, x_t)
    output = output.to(x_t.dtype)  # a network under autocast answers in half precision
    if predicts == "eps":
        if alpha.device.type == "cpu" and bool((alpha < NO_SIGNAL).any()):
            _refuse_eps("to_prediction")
        return Prediction((x_t - sigma * output) / alpha, output)
    if predicts == "x_0":
        return Prediction(output, (x_t - alpha * output) / sigma)
    a, b = _mixture(predicts, level, x_t)
    determinant = alpha * b - sigma * a
    return Prediction(
        (b * x_t - sigma * output) / determinant, (alpha * output - a * x_t) / determinant
    )


def check_predicts(who: str, predicts: Predicts, end: NoiseLevel) -> None:
    """Refuse a network that cannot say what x_0 is at the noisiest level of a schedule.

    Args:
        who: The part that speaks.
        predicts: What the network predicts.
        end: The noisiest level, on the CPU.

    Raises:
        UsageError: If alpha = 0 there (zero terminal SNR, rectified flow) and eps is predicted.
    """
    if predicts == "eps" and bool((end.alpha < NO_SIGNAL).any()):
        _refuse_eps(who)


def prediction_of(denoiser: Denoiser, output: Tensor, x_t: Tensor, level: NoiseLevel) -> Prediction:
    """What the raw output of a denoiser says."""
    how = denoiser.variance, denoiser.channel_axis
    return to_prediction(output, denoiser.predicts, x_t, level, *how)


def score(prediction: Prediction, level: NoiseLevel) -> Tensor:
    r"""The score :math:`\nabla \log p(x_t) = -\varepsilon / \sigma`.

    Source: Song et al., Score-Based Generative Modeling through SDEs, ICLR 2021, app. B,
        https://arxiv.org/abs/2011.13456.
    """
    return -prediction.eps / _per_row(level.sigma, prediction.eps)


def mean_of_step(x_0: Tensor, x_t: Tensor, back: Reverse) -> Tensor:
    """Mean of q(x_s | x_t, x_0), ``(B, *event_shape)``."""
    return _per_row(back.from_x_t, x_t) * x_t + _per_row(back.from_x_0, x_t) * x_0


def fixed_log_variance(back: Reverse, which: str, like: Tensor) -> Tensor:
    """Log of a variance that is not learned, broadcastable to ``like``.

    Args:
        back: The step.
        which: small, right for data of no variance, or large, for data of unit variance; of the
            last step, the small one in both cases.
        like: Data.
    """
    chosen = back.log_small
    if which == "large":
        chosen = torch.where(ends_at_data(back), back.log_small, back.log_large)
    return _per_row(chosen, like)


def ends_at_data(back: Reverse) -> Tensor:
    """Whether a step ends at clean data, ``(B,)``: its mean is x_0, all of it and nothing else.

    A step from pure noise does not look at x_t either, but takes only alpha_s of x_0.
    """
    return (back.from_x_t == 0) & (back.from_x_0 > 1 - 1e-6)


class Transition(NamedTuple):
    """One step between two levels: the numbers of q(x_s | x_t, x_0) and of q(x_t | x_s).

    Shape: every field like the fields of the two levels.
        - from_x_t, from_x_0: weights of x_t and x_0 in the mean of q(x_s | x_t, x_0)
        - variance: of q(x_s | x_t, x_0); 0 where s is clean data
        - forward_variance: of q(x_t | x_s); beta between neighbours of a discrete schedule
    """

    from_x_t: Tensor
    from_x_0: Tensor
    variance: Tensor
    forward_variance: Tensor


def transition(t: NoiseLevel, s: NoiseLevel) -> Transition:
    r"""The numbers of the step from level t to the cleaner level s: the formulas above.

    alpha_t = 0 is fine: x_t is pure noise then, and the mean does not look at it. Give float64
    levels: :math:`\sigma^2_{ts}` is the small difference of two numbers near 1.

    Source: Kingma et al., Variational Diffusion Models, app. A; for neighbours of a discrete
        schedule, Ho et al. 2020, eq. 6-7.
    """
    alpha_ts = t.alpha / s.alpha
    var_s, var_t = s.sigma.square(), t.sigma.square()
    var_ts = (var_t - alpha_ts.square() * var_s).clamp(min=0)
    return Transition(
        from_x_t=alpha_ts * var_s / var_t,
        from_x_0=s.alpha * var_ts / var_t,
        variance=var_ts * var_s / var_t,
        forward_variance=var_ts,
    )


def q_posterior_mean_variance(
    x_0: Tensor, x_t: Tensor, t: NoiseLevel, s: NoiseLevel
) -> tuple[Tensor, Tensor]:
    """Mean ``(B, *event_shape)`` and variance, broadcastable to it, of q(x_s | x_t, x_0)."""
    step = transition(t, s)
    mean = _per_row(step.from_x_t, x_t) * x_t + _per_row(step.from_x_0, x_t) * x_0
    return mean, _per_row(step.variance, x_t)


def reverse_of(step: Transition) -> Reverse:
    """The numbers of steps that follow each other, ``(S,)``, as a denoiser is told them."""
    small = step.variance.clone()
    if len(small) > 1:
        small[-1] = small[-2]
    else:
        small = step.forward_variance
    tiny = torch.finfo(small.dtype).tiny
    logs = (v.clamp(min=tiny).log() for v in (small, step.forward_variance))
    return Reverse(step.from_x_t, step.from_x_0, *logs)


def _per_row(value: Tensor, like: Tensor) -> Tensor:
    """``(B,)`` shaped and cast to multiply ``like``, ``(B, ...)``."""
    return value.to(like.dtype).reshape(-1, *(1,) * (like.ndim - 1))


def _mixture(predicts: Predicts, level: NoiseLevel, like: Tensor) -> tuple[Tensor, Tensor]:
    """The weights (a, b) of the target a x_0 + b eps."""
    if predicts == "v":
        return -_per_row(level.sigma, like), _per_row(level.alpha, like)
    if predicts == "x_prev":
        back = _step_back(level)
        from_x_t = _per_row(back.from_x_t, like)
        signal = _per_row(back.from_x_0, like) + from_x_t * _per_row(level.alpha, like)
        return signal, from_x_t * _per_row(level.sigma, like)
    if predicts != "velocity":
        raise UsageError(
            f"corekit.diffusion: predicts must be one of {', '.join(get_args(Predicts))}, "
            f"got {predicts!r}."
        )
    if level.dalpha is None or level.dsigma is None:
        raise UsageError(
            "corekit.diffusion: a velocity needs the derivatives of alpha and sigma, got a noise "
            "level without dalpha and dsigma. Let the schedule's at() return them."
        )
    return _per_row(level.dalpha, like), _per_row(level.dsigma, like)


def _log_variance(said: Tensor, variance: Variance, level: NoiseLevel) -> Tensor:
    """The log-variance that a network says; in single precision at least."""
    said = said.to(torch.promote_types(said.dtype, torch.float32))
    if variance == "log":
        return said
    back, f = _step_back(level), (said + 1) / 2
    large, small = _per_row(back.log_large, said), _per_row(back.log_small, said)
    return f * large + (1 - f) * small


def _step_back(level: NoiseLevel) -> Reverse:
    if level.reverse is None:
        raise UsageError(
            "corekit.diffusion: x_prev and a range of variances need a step back, got a noise "
            "level without one. Use a schedule of steps (ddpm.linear, ddpm.cosine), or a sampler."
        )
    return level.reverse


def _refuse_eps(who: str) -> None:
    raise UsageError(
        f"{who}: eps must not be predicted where alpha = 0 (zero terminal SNR, rectified flow): "
        "x_t is pure noise there, and eps says nothing of x_0. "
        "Use a denoiser that predicts 'v', 'x_0' or 'velocity'."
    )
