"""Likelihoods of quantised data: probabilities of levels."""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from corekit.data_spec import DataSpec, Shape
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.observation import Observation
from corekit.interfaces.precision import wide


class OfLevels(Observation):
    r"""A probability for each of K levels of each element.

    .. math:: \log p(x) = \sum_d \log P(k_d) - \log w, \qquad x_d = x_{lowest} + k_d w

    Divided by the width w of a bin this is a density: nats are comparable with those of other
    densities of the same data, and bits/dim are -log2 P per element.

    Args:
        event_shape: Shape of x without the batch.
        levels: K, the number of levels of the data.

    Raises:
        UsageError: By `prepare`, if the data have another number of levels.
    """

    lowest: float = -1.0

    def __init__(self, event_shape: Shape, *, levels: int = 256) -> None:
        super().__init__(event_shape)
        if levels < 2:
            raise UsageError(f"{type(self).__name__}: levels must be at least 2, got {levels}.")
        self.levels, self.bin_width = levels, 2 / (levels - 1)

    def prepare(self, data: DataSpec) -> None:
        """Take lowest level and width of a bin from the data."""
        if data.levels != self.levels or data.bin_width is None or data.lowest is None:
            told = "no levels" if data.levels is None else f"{data.levels} levels"
            raise UsageError(
                f"{type(self).__name__}: data must have {self.levels} levels, as the likelihood "
                f"says, got {told}. Set levels, or take a likelihood of real numbers."
            )
        self.lowest, self.bin_width = data.lowest, data.bin_width

    def level_of(self, x: Tensor) -> Tensor:
        """k of each element, int64."""
        k = ((x - self.lowest) / self.bin_width).round().clamp(0, self.levels - 1)
        return k.to(torch.int64)

    def value_of(self, k: Tensor, like: Tensor) -> Tensor:
        """x of each level."""
        return self.lowest + self.bin_width * k.to(like.dtype)

    @abstractmethod
    def log_mass(self, parameters: Tensor, k: Tensor) -> Tensor:
        """log P(k) of each element, ``(B, *event_shape)``."""

    def _split(self, parameters: Tensor, parts: int) -> Tensor:
        """``(B, parts, *event_shape)``."""
        return wide(parameters).unflatten(1, (parts, self.event_shape[0]))

    def _log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        each = self.log_mass(parameters, self.level_of(x)) - math.log(self.bin_width)
        return each.flatten(1).sum(1)


class Categorical(OfLevels):
    r"""A softmax over the K levels of each element, without an order among them.

    .. math:: \log P(k) = l_k - \log \sum_j e^{l_j}

    Args:
        event_shape: Shape of x without the batch.
        levels: K.

    Shape: parameters: logits ``(B, K C, ...)`` for an event ``(C, ...)``, level by level; x
        ``(B, C, ...)``; log_prob ``(B,)``, nats.
    """

    def __init__(self, event_shape: Shape, *, levels: int = 256) -> None:
        super().__init__(event_shape, levels=levels)
        self.parameter_shape = (levels * event_shape[0], *event_shape[1:])

    def log_mass(self, parameters: Tensor, k: Tensor) -> Tensor:
        """log P(k)."""
        log_p = self._split(parameters, self.levels).log_softmax(1)
        return log_p.gather(1, k[:, None])[:, 0]

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean of the levels' values."""
        p = self._split(parameters, self.levels).softmax(1)
        values = self.value_of(torch.arange(self.levels, device=p.device), p)
        return torch.einsum("bk...,k->b...", p, values).to(parameters.dtype)

    def sample(self, parameters: Tensor, temperature: float, draws: Draws) -> Tensor:
        """A level of each element, by Gumbel noise; at temperature 0 the likeliest."""
        logits = self._split(parameters, self.levels)
        if temperature > 0:
            u = draws.uniform("x", tuple(logits.shape), logits.double()).clamp(min=2.0**-54)
            logits = logits.double() / temperature - (-u.log()).log()
        return self.value_of(logits.argmax(1), parameters)


class DiscretizedLogistic(OfLevels):
    r"""A mixture of logistic distributions, integrated over the bin of each level.

    .. math:: P(k) = \sum_j \pi_j \Big[\sigma\Big(\frac{k + \frac12 - m_j}{s_j}\Big)
        - \sigma\Big(\frac{k - \frac12 - m_j}{s_j}\Big)\Big]

    in units of levels; the first bin reaches to minus infinity and the last to infinity. Elements
    are independent given z.

    Args:
        event_shape: Shape of x without the batch.
        components: Number of logistic distributions of each element.
        levels: K.

    Shape: parameters: weights' logits, locations, log-scales, ``(B, 3 J C, ...)`` for an event
        ``(C, ...)``; locations and scales in units of half the range of the data; x
        ``(B, C, ...)``; log_prob ``(B,)``, nats.

    Source: Salimans et al., PixelCNN++, ICLR 2017, eq. 1-2, https://arxiv.org/abs/1701.05517.
    """

    def __init__(self, event_shape: Shape, *, components: int = 5, levels: int = 256) -> None:
        super().__init__(event_shape, levels=levels)
        if components < 1:
            raise UsageError(
                f"DiscretizedLogistic: components must be at least 1, got {components}."
            )
        self.components = components
        self.parameter_shape = (3 * components * event_shape[0], *event_shape[1:])

    def mixture_of(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, locations and log-scales in levels, each ``(B, J, *event_shape)``."""
        logit, loc, log_scale = self._split(parameters, 3 * self.components).chunk(3, 1)
        half = (self.levels - 1) / 2
        log_scale = log_scale.clamp(min=-7.0) + math.log(half)
        return logit.log_softmax(1), half * (loc + 1), log_scale

    def log_mass(self, parameters: Tensor, k: Tensor) -> Tensor:
        """log P(k)."""
        log_weight, loc, log_scale = self.mixture_of(parameters)
        return torch.logsumexp(log_weight + log_bin(k[:, None], loc, log_scale, self.levels), 1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean of the levels' values: the sum over all k of the probability to lie above k."""
        log_weight, loc, log_scale = self.mixture_of(parameters)
        weight, inverse = log_weight.exp(), (-log_scale).exp()
        k = torch.zeros_like(loc[:, 0])
        for level in range(self.levels - 1):  # one by one: all at once would be K times the memory
            k = k + (weight * ((loc - level - 0.5) * inverse).sigmoid()).sum(1)
        return (self.lowest + self.bin_width * k).to(parameters.dtype)

    def sample(self, parameters: Tensor, temperature: float, draws: Draws) -> Tensor:
        """A level of each element; at temperature 0 the location of the likeliest component."""
        log_weight, loc, log_scale = (part.double() for part in self.mixture_of(parameters))
        noise = torch.zeros_like(loc[:, 0])
        if temperature > 0:
            u = draws.uniform("component", tuple(log_weight.shape), log_weight)
            log_weight = log_weight - (-u.clamp(min=2.0**-54).log()).log()
            v = draws.uniform("x", tuple(noise.shape), noise).clamp(min=2.0**-54)
            noise = temperature * (v.log() - torch.log1p(-v))
        chosen = log_weight.argmax(1, keepdim=True)
        loc, log_scale = loc.gather(1, chosen)[:, 0], log_scale.gather(1, chosen)[:, 0]
        k = (loc + log_scale.exp() * noise).round().clamp(0, self.levels - 1)
        return self.value_of(k, parameters)


def log_bin(k: Tensor, loc: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    r"""log of a logistic distribution's mass in the bin of level k, stable in every tail.

    .. math:: \sigma(b) - \sigma(a) = \sigma(b)\, \sigma(-a)\, (1 - e^{a - b})
    """
    inverse = (-log_scale).exp()
    upper, lower = (k + 0.5 - loc) * inverse, (k - 0.5 - loc) * inverse
    log_upper = torch.where(k == levels - 1, torch.zeros_like(upper), logsigmoid(upper))
    log_lower = torch.where(k == 0, torch.zeros_like(lower), logsigmoid(-lower))
    ends = (k == 0) | (k == levels - 1)
    between = torch.log(-torch.expm1(-inverse)).expand_as(upper)
    return log_upper + log_lower + torch.where(ends, torch.zeros_like(upper), between)
