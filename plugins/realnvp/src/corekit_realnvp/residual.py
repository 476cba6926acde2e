"""Invertible residual networks."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.interfaces.drawing import current_draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.precision import full_precision
from corekit_realnvp.lipschitz import Linearized, LipschitzMlp, fixed_point_steps

LogDet = Literal["exact", "roulette", "truncated"]
_KINDS = {
    "exact": Likelihood.EXACT,
    "roulette": Likelihood.UNBIASED,
    "truncated": Likelihood.NONE,
}


class Residual(Bijector):
    r"""Add a perceptron that moves less than its input: any network shape, no split, no mask.

    .. math:: z = x + g(x, c), \qquad |g(x, c) - g(y, c)| \le \kappa |x - y|, \quad \kappa < 1

    .. math:: \log |\det(I + J)| = \sum_{k \ge 1} \frac{(-1)^{k+1}}{k} \mathrm{tr}\, J^k

    ==========  ==============================================================  ===========
    logdet      how it is found                                                 kind
    ==========  ==============================================================  ===========
    exact       from the whole Jacobian: D products, O(D^3)                     exact
    roulette    ``terms`` terms of the series, and then each further one with   unbiased
                probability kappa, weighted to make up for it; traces by a
                random probe
    truncated   ``terms`` terms, traces by a random probe; the rest, up to      none
                D kappa^terms in size, is left out
    ==========  ==============================================================  ===========

    With the probability kappa the roulette's variance is finite whatever the weights. The probe
    and the number of terms are drawn per row, from `corekit.interfaces.drawing`: a density hands
    its draws on.

    The inverse iterates x = z - g(x), which shrinks errors by kappa at every step; its gradients
    are those of the implicit function, once.

    Args:
        event_shape: Shape of x without the batch; it is flattened.
        context_shape: Shape of the context, or None.
        hidden: Width of each hidden layer of g, at least one.
        lipschitz: kappa, between 0 and 1. Near 1 a layer can do more, and inverts slower.
        logdet: exact, roulette or truncated.
        terms: Of the series, at least 1.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Raises:
        UsageError: If an option is out of range, or the inverse is differentiated twice.

    Source: Behrmann et al., Invertible Residual Networks, ICML 2019,
        https://arxiv.org/abs/1811.00995; Chen et al., Residual Flows, NeurIPS 2019, eq. 6,
        https://arxiv.org/abs/1906.02735.

    Example:
        >>> layer = Residual((2,), hidden=(8,))
        >>> z, logdet = layer(torch.ones(3, 2))
        >>> z.shape, logdet.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: Sequence[int] = (128, 128),
        lipschitz: float = 0.9,
        logdet: LogDet = "exact",
        terms: int = 4,
    ) -> None:
        super().__init__()
        if not hidden:
            raise UsageError("Residual: hidden must have at least one layer, got none.")
        if not 0 < lipschitz < 1:
            raise UsageError(f"Residual: lipschitz must lie between 0 and 1, got {lipschitz}.")
        if logdet not in _KINDS:
            raise UsageError(
                f"Residual: logdet must be one of {', '.join(_KINDS)}, got {logdet!r}."
            )
        if terms < 1:
            raise UsageError(f"Residual: terms must be at least 1, got {terms}.")
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.lipschitz, self.how, self.terms = lipschitz, logdet, terms
        self.logdet_kind = _KINDS[logdet]
        self.iterative = frozenset({"inverse"} if logdet == "exact" else {"forward", "inverse"})
        width = math.prod(self.context_shape or (0,))
        self.net = LipschitzMlp(math.prod(self.event_shape), width, hidden, lipschitz)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            flat = x.flatten(1).to(logdet_dtype(x))
            g = self.net(flat, context)
            return (flat + g.value).to(x.dtype).reshape(x.shape), self._log_det(g)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            flat = z.flatten(1).to(logdet_dtype(z))
            offset, weights = self.net.offset_of(flat, context), self.net.weights(flat.dtype)
            with torch.no_grad():
                x = self._fixed_point(lambda x: flat - self.net.at(x, offset, weights).value, flat)
            if torch.is_grad_enabled():
                x = self._implicit(flat, x, offset, weights)
            logdet = -self._log_det(self.net.at(x, offset, weights))
            return x.to(z.dtype).reshape(z.shape), logdet

    def _implicit(self, z: Tensor, x: Tensor, offset: Tensor, weights: list[Tensor]) -> Tensor:
        """x, with the gradients of the implicit function: (I + J^T) w = v for an incoming v."""
        g = self.net.at(x, offset, weights)
        x = z - g.value
        if not x.requires_grad:
            return x
        at = Linearized(
            g.value.detach(), [s.detach() for s in g.slopes], [w.detach() for w in g.weights]
        )

        def solve(v: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                raise UsageError(
                    "Residual: the inverse must be differentiated once only, got "
                    "create_graph=True. Differentiate the forward map instead."
                )
            return self._fixed_point(lambda w: v - at.pull(w), v)

        x.register_hook(solve)
        return x

    def _fixed_point(self, step: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
        x, eps = start, torch.finfo(start.dtype).eps
        for _ in range(fixed_point_steps(self.lipschitz, start.dtype)):
            before, x = x, step(x)
            if x.is_meta or not bool(((x - before).abs() > eps * x.abs()).any()):
                break
        return x

    def _log_det(self, g: Linearized) -> Tensor:
        size = g.value.shape[1]
        if self.how == "exact":
            eye = torch.eye(size, dtype=g.value.dtype, device=g.value.device)
            jacobian_t = g.push(eye.expand(len(g.value), size, size))  # row i: J e_i
            return torch.linalg.slogdet(eye + jacobian_t)[1]
        draws = current_draws()
        u = draws.uniform("probe", tuple(g.value.shape), g.value)
        probe = torch.where(u < 0.5, -1.0, 1.0).to(g.value)
        return self._series(g, probe, self._further(g.value) if self.how == "roulette" else None)

    def _further(self, like: Tensor) -> Tensor:
        """How many terms a row takes beyond those that all take: k or more with kappa^k."""
        u = 1 - current_draws().uniform("roulette", (len(like),), like.double())  # in (0, 1]
        return (u.log() / math.log(self.lipschitz)).floor()

    def _series(self, g: Linearized, probe: Tensor, further: Tensor | None) -> Tensor:
        """sum_k (-1)^(k+1) / k v'J^k v, each term over the probability that it is taken."""
        most = self.terms
        if further is not None and further.numel() and not further.is_meta:
            most += int(further.max())
        total, moved = torch.zeros_like(probe[:, 0]), probe
        for k in range(1, most + 1):
            moved = g.push(moved)
            term = (probe * moved).sum(1) * ((-1) ** (k + 1) / k)
            if k > self.terms and further is not None:
                extra = k - self.terms
                term = torch.where(further >= extra, term / self.lipschitz**extra, 0.0)
            total = total + term
        return total
