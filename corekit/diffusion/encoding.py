"""From data to the noise that would become them: DDIM run backwards."""

import torch
from torch import Tensor

from corekit.diffusion.path import Path
from corekit.interfaces.noise_schedule import NoiseSchedule
from corekit.interfaces.sampler import Callback, Predict


@torch.no_grad()
def encode(
    predict: Predict,
    schedule: NoiseSchedule,
    x_0: Tensor,
    *,
    times: Tensor,
    callback: Callback | None = None,
) -> Tensor:
    r"""The x_T from which a deterministic sampler returns to x_0.

    The step of `Ddim` with eta = 0, from level s to the noisier level t:

    .. math:: x_t = \alpha_t \hat x_0(x_s) + \sigma_t \hat\varepsilon(x_s)

    No denoiser can be asked at clean data, so x_0 is taken for a sample of the first level above
    them, which is what a deterministic sampler sees last. Decoding gives x_0 back up to an error
    like 1 / steps.

    Args:
        predict: (x_t, level) -> `Prediction`.
        schedule: Where the levels come from.
        x_0: Data ``(B, *event_shape)``.
        times: Those of a sampler, from noise to data: decreasing, the last 0; followed backwards.
        callback: Called after each step with (steps done, x, prediction).

    Shape: x_T ``(B, *event_shape)``, at the level of ``times[0]``; S - 1 calls of the denoiser for
        S + 1 times.

    Source: Song et al., Denoising Diffusion Implicit Models, ICLR 2021, sec. 4.3 and 5.4,
        https://arxiv.org/abs/2010.02502. Follows improved-diffusion, ``ddim_reverse_sample``.
    """
    path = Path(schedule, times, x_0)
    alpha, sigma = path.alpha.tolist(), path.sigma.tolist()
    x = x_0
    for done, i in enumerate(range(len(path) - 1, 0, -1), start=1):
        prediction = predict(x, path.level(i))
        x = alpha[i - 1] * prediction.x_0 + sigma[i - 1] * prediction.eps
        if callback is not None:
            callback(done, x, prediction)
    return x
