"""The distribution function of a mixture as a map of one number."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from corekit.data_spec import Shape, Support
from corekit.errors import UsageError
from corekit.flows.elementwise import Elementwise
from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.draws import Draws
from corekit.interfaces.inversion import invert
from corekit.interfaces.univariate import Univariate
from corekit_realnvp.normal_tails import LOG_SQRT_2PI, log_ndtr_inverse

Family = Literal["logistic", "normal"]
Latent = Literal["logit", "probit", "uniform"]
_BASES = {"logit": "Logistic", "probit": "StandardNormal", "uniform": "Uniform"}


class MixtureCdf(Univariate):
    r"""F, the distribution function of a mixture of K logistics or normals, in one of three forms.

    .. math::
        F(x) = \sum_k w_k\, G\!\Big(\frac{x - \mu_k}{e^{s_k}}\Big), \qquad w = softmax(logits)

    ========  =========================  ====================  =======================
    latent    z                          base of a mixture     lies in
    ========  =========================  ====================  =======================
    logit     log F - log(1 - F)         logistic              the real line
    probit    the normal quantile of F   standard normal       the real line
    uniform   F                          uniform               the unit interval
    ========  =========================  ====================  =======================

    With the base that is named, the density of x is the mixture. Everything is computed from
    log F and log(1 - F), so both tails are exact in float32 but for ``uniform``, which saturates
    in the upper one: F is 1 from about 5.5 standard deviations on. The inverse is found between
    the quantiles of the components, with implicit gradients.

    Parameters are K locations, K log-scales, K logits. The locations have an offset, the quantiles
    of the family times ``spread``, so that parameters of zero are K different components.

    Args:
        components: K.
        family: logistic or normal.
        latent: logit, probit or uniform.
        spread: Of the initial locations; 0 for locations as they are given.

    Shape: x ``(B, *event)``, params ``(B, 3 K, *event)``.

    Raises:
        UsageError: If an option is out of range.

    Source: Ho et al., Flow++, ICML 2019, https://arxiv.org/abs/1902.00275.
    """

    iterative = frozenset({"inverse"})

    def __init__(
        self,
        components: int = 8,
        family: Family = "logistic",
        latent: Latent = "logit",
        spread: float = 1.0,
    ) -> None:
        if components < 1:
            raise UsageError(f"MixtureCdf: components must be at least 1, got {components}.")
        if family not in ("logistic", "normal"):
            raise UsageError(f"MixtureCdf: family must be logistic or normal, got {family!r}.")
        if latent not in ("logit", "probit", "uniform"):
            raise UsageError(
                f"MixtureCdf: latent must be logit, probit or uniform, got {latent!r}."
            )
        self.components, self.family, self.latent = components, family, latent
        self.parameters = 3 * components
        self.base = _BASES[latent]
        if latent == "uniform":
            self.codomain = Support.UNIT_INTERVAL
        self.spread = spread

    def _forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self._latent(*self._logs(x, *self._components(x, params)), x.dtype)

    def _inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale, log_weight = self._components(z, params)
        logit = self._to_logit(z.to(loc.dtype))
        with torch.no_grad():  # the mixture's quantile lies between those of its components
            quantile = loc + log_scale.exp() * self._quantile(logit)[:, None]
            low, high = quantile.amin(1), quantile.amax(1)

        def logit_of(x: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
            log_f, log_1mf, log_pdf = self._logs(x, *given)
            return log_f - log_1mf, log_pdf - log_f - log_1mf

        x = invert(logit_of, logit, (loc, log_scale, log_weight), low, high)
        _, log_slope = self._latent(*self._logs(x, loc, log_scale, log_weight), z.dtype)
        return x.to(z.dtype), -log_slope

    def draw(self, params: Tensor, draws: Draws, temperature: float = 1.0) -> Tensor:
        """x of the mixture itself: a component, then a number of it.

        It is the inverse of the base that belongs to the map, without a search.

        Shape: params ``(B, 3 K, *event)``; x ``(B, *event)``.
        """
        loc, log_scale, log_weight = self._components(params[:, 0], params)
        shape = tuple(params[:, 0].shape)
        below = log_weight.double().exp().cumsum(1)
        u = draws.uniform("component", shape, below)
        chosen = (below <= u[:, None]).sum(1, keepdim=True).clamp(max=self.components - 1)
        if self.family == "normal":
            noise = draws.normal("noise", shape, loc)
        else:
            noise = torch.logit(draws.uniform("noise", shape, below).clamp(min=2.0**-54)).to(loc)
        loc, log_scale = (value.gather(1, chosen)[:, 0] for value in (loc, log_scale))
        return (loc + temperature * log_scale.exp() * noise).to(params.dtype)

    def _components(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Locations, log-scales and log-weights, each ``(B, K, *event)``."""
        loc, log_scale, logits = params.to(logdet_dtype(x)).chunk(3, dim=1)
        # Made on the device: copying a list there would wait for it at each step.
        u = (
            torch.arange(self.components, device=loc.device, dtype=loc.dtype) + 0.5
        ) / self.components
        quantiles = torch.logit(u) if self.family == "logistic" else torch.special.ndtri(u)
        offsets = (self.spread * quantiles).reshape(-1, *(1,) * (x.ndim - 1))
        return loc + offsets, log_scale, torch.log_softmax(logits, dim=1)

    def _logs(
        self, x: Tensor, loc: Tensor, log_scale: Tensor, log_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log F, log(1 - F) and log f, each ``(B, *event)``."""
        u = (x.to(loc.dtype)[:, None] - loc) * (-log_scale).exp()
        if self.family == "logistic":
            lower, upper = logsigmoid(u), logsigmoid(-u)
            log_pdf = lower + upper
        else:
            lower, upper = torch.special.log_ndtr(u), torch.special.log_ndtr(-u)
            log_pdf = -0.5 * u.square() - LOG_SQRT_2PI
        log_f, log_1mf, log_p = (
            torch.logsumexp(log_weight + part, dim=1)
            for part in (lower, upper, log_pdf - log_scale)
        )
        return log_f, log_1mf, log_p

    def _latent(
        self, log_f: Tensor, log_1mf: Tensor, log_pdf: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        if self.latent == "uniform":
            return log_f.clamp(max=0).exp().to(dtype), log_pdf
        if self.latent == "logit":
            return (log_f - log_1mf).to(dtype), log_pdf - log_f - log_1mf
        lower = log_f <= log_1mf
        tail = log_ndtr_inverse(torch.where(lower, log_f, log_1mf))
        z = torch.where(lower, tail, -tail)
        return z.to(dtype), log_pdf + 0.5 * z.square() + LOG_SQRT_2PI

    def _to_logit(self, z: Tensor) -> Tensor:
        """logit F of a latent."""
        if self.latent == "logit":
            return z
        if self.latent == "uniform":
            return torch.logit(z, eps=torch.finfo(z.dtype).tiny)
        return torch.special.log_ndtr(z) - torch.special.log_ndtr(-z)

    def _quantile(self, logit: Tensor) -> Tensor:
        """The quantile of one component of location 0 and scale 1."""
        if self.family == "logistic":
            return logit
        tail = log_ndtr_inverse(logsigmoid(-logit.abs()))
        return torch.where(logit < 0, tail, -tail)


class MixtureCdfBijector(Elementwise):
    """`MixtureCdf` on every element, with a learned mixture each.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of a context that a perceptron computes the mixtures from, or None.
        components, family, latent, spread: As of `MixtureCdf`.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        components: int = 8,
        family: Family = "logistic",
        latent: Latent = "logit",
        spread: float = 1.0,
    ) -> None:
        mixture = MixtureCdf(components, family, latent, spread)
        super().__init__(event_shape, context_shape, univariate=mixture)
