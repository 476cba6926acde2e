"""Maximum mean discrepancy: the Wasserstein auto-encoder, and InfoVAE."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.precision import full_precision, wide
from corekit.interfaces.records import Batch
from corekit.latent.scoring import Scored
from corekit_vae.objectives.base import Kl, Objective, Term, drawn_from_prior
from corekit_vae.scheduled import Given

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel

Kernel = Literal["rbf", "imq", "imq_multi"]
_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def kernel_of(name: Kernel, squared: Tensor, width: float) -> Tensor:
    r"""k(a, b) from squared distances.

    .. math::
        k_{rbf} = e^{-\|a - b\|^2 / C}, \quad k_{imq} = \frac{C}{C + \|a - b\|^2}, \quad
        k_{multi} = \sum_{s \in \{.1, .2, .5, 1, 2, 5, 10\}} \frac{s C}{s C + \|a - b\|^2}

    Args:
        name: rbf, imq or imq_multi.
        squared: Squared distances.
        width: C.
    """
    if name == "rbf":
        return torch.exp(-squared / width)
    scales = _SCALES if name == "imq_multi" else (1.0,)
    return torch.stack([s * width / (s * width + squared) for s in scales]).sum(0)


def squared_mmd(a: Tensor, b: Tensor, kernel: Kernel = "imq", bandwidth: float = 1.0) -> Tensor:
    r"""The U-statistic of the squared MMD of two samples; 0 of fewer than two rows.

    .. math::
        \frac{1}{n(n-1)} \sum_{i \ne j} \big[k(a_i, a_j) + k(b_i, b_j)\big]
        - \frac{2}{n^2} \sum_{i, j} k(a_i, b_j), \qquad C = 2 D h^2

    Its expectation is 0 where both samples are of one law, so that it is often negative there.

    Args:
        a: One sample.
        b: The other, of as many rows.
        kernel: k (`kernel_of`).
        bandwidth: h.

    Shape: a, b ``(n, D)``; result ``()``.
    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 2012, eq. 3.
    """
    n = len(a)
    if n < 2:
        return 0 * a.sum()
    width = 2 * a.shape[1] * bandwidth**2

    def between(x: Tensor, y: Tensor) -> Tensor:
        squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        return kernel_of(kernel, squared.clamp(min=0), width)

    of_a, of_b = between(a, a), between(b, b)
    within = sum(k.sum() - k.diagonal().sum() for k in (of_a, of_b))
    return within / (n * (n - 1)) - 2 * between(a, b).mean()


class Mmd(Objective):
    r"""Wasserstein auto-encoder: draws of q(z) are to be like draws of the prior.

    .. math:: L = D(x \mid z) + \beta\, \mathrm{KL} + w\, \mathrm{MMD}^2(q(z), p(z))

    with the U-statistic (`squared_mmd`), which is unbiased and may be negative.

    Args:
        weight: w, a number or a schedule.
        kernel: rbf, imq (inverse multiquadratic), or imq_multi of seven widths.
        bandwidth: h: kernels have the width C = 2 D h^2. It is the prior's standard deviation.
        kl_weight: beta, a number or a schedule.
        kl: How the KL is computed (`Objective`).

    Raises:
        UsageError: If an option is none of these.

    Source: Tolstikhin et al., Wasserstein Auto-Encoders, ICLR 2018, algorithm 2,
        https://arxiv.org/abs/1711.01558.
    """

    rows_coupled = True
    needs_prior = True

    def __init__(
        self,
        *,
        weight: Given = 100.0,
        kernel: Kernel = "imq",
        bandwidth: float = 1.0,
        kl_weight: Given = 0.0,
        kl: Kl = "auto",
    ) -> None:
        super().__init__(kl_weight=kl_weight, kl=kl)
        if kernel not in ("rbf", "imq", "imq_multi"):
            raise UsageError(f"Mmd: kernel must be rbf, imq or imq_multi, got {kernel!r}.")
        if not bandwidth > 0:
            raise UsageError(f"Mmd: bandwidth must be positive, got {bandwidth}.")
        self.kernel, self.bandwidth = kernel, bandwidth
        self.weight = self.scheduled("weight", weight)

    def terms(
        self, scored: Scored, model: "LatentModel", batch: Batch, draws: Draws
    ) -> Mapping[str, Term]:
        """The squared MMD."""
        drawn = drawn_from_prior(model, scored, draws)
        with full_precision(scored.z):
            samples = (wide(scored.z).flatten(1), wide(drawn).flatten(1))
            value = squared_mmd(*samples, self.kernel, self.bandwidth)
        return {"mmd": Term(self.weight, value, "squared MMD")}


def info(
    *,
    alpha: float = 0.0,
    lam: float = 10.0,
    kernel: Kernel = "imq",
    bandwidth: float = 1.0,
    kl: Kl = "auto",
) -> Mmd:
    r"""InfoVAE: less of the KL, and an MMD.

    .. math:: L = D + (1 - \alpha)\, \mathrm{KL} + (\alpha + \lambda - 1)\, \mathrm{MMD}^2

    Args:
        alpha: At most 1; 1 leaves the KL out (MMD-VAE), 0 keeps the ELBO.
        lam: lambda, at least 1 - alpha.
        kernel: Of the MMD (`Mmd`).
        bandwidth: Of the kernel.
        kl: How the KL is computed (`Objective`).

    Raises:
        UsageError: If a weight were negative: one would train away from the prior.

    Source: Zhao et al., InfoVAE, AAAI 2019, eq. 6, https://arxiv.org/abs/1706.02262.
    """
    if alpha > 1 or alpha + lam < 1:
        raise UsageError(
            f"info: alpha must be at most 1 and alpha + lam at least 1, got {alpha} and {lam}. "
            "With a negative weight training moves away from the prior."
        )
    weights = {"weight": alpha + lam - 1, "kl_weight": 1 - alpha}
    return Mmd(**weights, kernel=kernel, bandwidth=bandwidth, kl=kl)
