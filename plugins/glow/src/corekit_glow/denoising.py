"""Flows of noisy data, and the step that takes the noise away."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.errors import NoDensity, UsageError
from corekit.flows.compose import Factory
from corekit.flows.model import FlowModel
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import Batch, Condition, LossTerms


def denoised(
    model: Density | GenerativeModel, y: Tensor, sigma: float, condition: Condition | None = None
) -> Tensor:
    r"""The mean of clean data given noisy ones, by the score of the noisy ones' density.

    .. math:: y = x + \sigma \epsilon: \qquad E[x \mid y] = y + \sigma^2\, \nabla_y \log p(y)

    It is exact where p is the density of y; Gaussian x or not. One pass and its gradient.

    Args:
        model: p: whatever has a ``log_prob``, trained on noisy data.
        y: Noisy data.
        sigma: The standard deviation of the noise.
        condition: Of these rows, or None.

    Shape: y and the result ``(B, ...)``, without a gradient.
    Source: Efron, Tweedie's Formula and Selection Bias, JASA 2011; Zhai et al., Normalizing Flows
        are Capable Generative Models, 2024, section 2.4, https://arxiv.org/abs/2412.06329.

    Example:
        >>> from corekit.flows.prior import StandardNormal  # clean: a half of the variance of y
        >>> denoised(StandardNormal((1,)), torch.tensor([[3.0]]), sigma=0.5**0.5)
        tensor([[1.5000]])
    """
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        log_prob = model.log_prob(y, condition).value
        (score,) = torch.autograd.grad(log_prob.sum(), y)
    return y.detach() + sigma**2 * score


class NoisyFlow(FlowModel):
    r"""A flow of data to which noise is added; its samples are denoised.

    .. math::
        loss = -\log p(x + \sigma \epsilon), \quad \epsilon \sim N(0, I); \qquad
        sample = y + \sigma^2\, \nabla_y \log p(y), \quad y \sim p

    The density of data on a grid, or on a surface, has ridges that a flow spends itself on; of
    noisy data it is smooth, and samples look better. It is no density of the data: there are no
    bits per dimension. For these train a `FlowModel` with a dequantisation. That noise cannot serve
    here, nor this one there: a `Stochastic` leads back to where it began exactly, and by itself,
    while the noise is taken away by means of p.

    Args:
        data: What it is a model of.
        bijector: Factory of the map from noisy data to latent.
        base: Factory of the base density, standard normal unless given.
        sigma: Standard deviation of the noise, in units of the data; 0.05 where they lie in
            [-1, 1].

    Shape: batch.x ``(B, *data.event_shape)``; loss ``(B,)``, nats of noisy data. Draws:
        ``normal("noise")``.

    Raises:
        UsageError: If sigma is not positive.

    Source: Zhai et al., Normalizing Flows are Capable Generative Models, 2024, sections 2.3, 2.4,
        https://arxiv.org/abs/2412.06329.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        bijector: "Factory | Bijector",
        base: Callable[..., Density] | None = None,
        sigma: float = 0.05,
    ) -> None:
        if not sigma > 0:
            raise UsageError(f"NoisyFlow: sigma must be positive, got {sigma}. Else use a `flow`.")
        super().__init__(data, bijector=bijector, base=base)
        self.sigma, self.kind = sigma, Likelihood.NONE

    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """-log p of noisy data."""
        source = as_draws(draws)
        noisy = self._noisy(batch, source)
        total = self.density.loss(noisy.x, noisy.condition, source).total
        return LossTerms(total, {"noisy_nll": total}, units={"noisy_nll": "nats of noisy data"})

    @hands_on
    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Initialise the density from noisy data."""
        super().initialize(self._noisy(batch, as_draws(draws)))

    def log_prob(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> LogProb:
        """There is none.

        Raises:
            NoDensity: Always.
        """
        raise NoDensity(
            "NoisyFlow: log_prob must have a density of the data, got one of data with noise "
            f"({self.sigma:g}). Ask its `density` for that one, or train a `flow`."
        )

    def sample(
        self,
        n: int,
        condition: Condition | None = None,
        *,
        shape: Shape | None = None,
        temperature: float = 1.0,
        generator: Randomness = None,
        denoise: bool = True,
        **options: Any,
    ) -> Tensor:
        """Draw n samples ``(n, *event_shape)``, noisy ones if ``denoise`` is False."""
        y = super().sample(
            n, condition, shape=shape, temperature=temperature, generator=generator, **options
        )
        return denoised(self.density, y, self.sigma, condition) if denoise else y

    def decode(
        self,
        z: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        denoise: bool = True,
        **options: Any,
    ) -> Tensor:
        """Data of latents; f^-1(z), which undoes ``encode``, if ``denoise`` is False."""
        y = super().decode(z, condition, generator=generator, **options)
        return denoised(self.density, y, self.sigma, condition) if denoise else y

    def _noisy(self, batch: Batch, draws: Draws) -> Batch:
        eps = draws.normal("noise", tuple(batch.x.shape), batch.x)
        return batch._replace(x=batch.x + self.sigma * eps)
