"""Bijectors of which only one direction is written: the rest is found numerically."""

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from corekit.errors import UsageError
from corekit.interfaces.bijector import Bijector, logdet_dtype, no_logdet
from corekit.interfaces.precision import full_precision

_FIXED_POINT_STEPS = 5000
_TREMBLES = 10  # steps that do not shrink any further
_NEWTON_STEPS = 100
_HALVINGS = 30

Step = Callable[[Tensor], Tensor]


class Contractive(Bijector):
    r"""A map that moves points less than it keeps them apart: only ``_forward`` is written.

    .. math:: z = x + g(x \mid c), \qquad |g(x) - g(y)| \le \kappa |x - y|, \quad \kappa < 1

    The inverse repeats :math:`x \leftarrow x + z - f(x)`, which shrinks the error by kappa at every
    step, until nothing moves. Its gradients are those of the implicit function: one more such
    iteration, with the transposed Jacobian. They reach z, the context and the parameters, once:
    a gradient of a gradient of the inverse is not there.

    **Implement one.** As a `Bijector`, without ``_inverse``.

    Raises:
        UsageError: If the iteration does not come to rest: the map is not contractive.
    """

    iterative = frozenset({"inverse"})

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        def value(x: Tensor) -> Tensor:
            return self._forward(x, context)[0]

        with full_precision(z):
            with torch.no_grad():
                x = self._rest(lambda x: x + (z - value(x)), z)
            if torch.is_grad_enabled():
                x = self._implicit(value, x, z)
            return x, -self._forward(x, context)[1]

    def _implicit(self, value: Step, x: Tensor, z: Tensor) -> Tensor:
        """x, with the gradients of f(x) = z: an incoming v becomes w with J^T w = v."""
        point = x.detach().requires_grad_()
        there = value(point)
        residual = there - z  # 0, but for rounding

        def solve(v: Tensor) -> Tensor:
            def pull(w: Tensor) -> Tensor:
                return torch.autograd.grad(there, point, w, retain_graph=True)[0]

            return self._rest(lambda w: w + (v - pull(w)), v)

        residual.register_hook(solve)  # type: ignore[no-untyped-call]
        return x - residual

    def _rest(self, step: Step, x: Tensor) -> Tensor:
        """Where a contraction comes to rest, or only trembles with rounding."""
        eps, least, since = torch.finfo(x.dtype).eps, math.inf, 0
        for _ in range(_FIXED_POINT_STEPS):
            before, x = x, step(x)
            if x.is_meta or not x.numel():
                return x
            moved = ((x - before).abs() / (1 + x.abs())).nan_to_num(nan=0.0).max().item()
            least, since = (moved, 0) if moved < least else (least, since + 1)
            if moved <= eps or (since >= _TREMBLES and least < 1000 * eps):
                return x
        raise UsageError(
            f"{type(self).__name__}: the map must move points less than it keeps them apart, got "
            f"an inverse that does not come to rest in {_FIXED_POINT_STEPS} steps. Bound its "
            "Lipschitz constant below 1, or write _inverse."
        )


class Mapped(Bijector):
    r"""A map of few dimensions of which only the value is written, ``_map(x, context) -> z``.

    The log-determinant comes from autograd's whole Jacobian: exact, with D backward passes and
    O(D^3) work per row, for D up to about a hundred. The inverse is found by Newton's method with
    that Jacobian; a step is halved until it brings the row nearer. Its gradients are those of the
    implicit function, :math:`\partial x = J^{-1} (\partial z - \partial f)`.

    **Implement one.** Set ``event_shape`` and write ``_map``, which is one to one, smooth, and
    looks at each row alone. Write ``_inverse`` too where there is a formula.
    """

    iterative = frozenset({"inverse"})

    @abstractmethod
    def _map(self, x: Tensor, context: Tensor | None) -> Tensor: ...

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._map(x, context), self._log_det(x, context)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            target = z.flatten(1)
            with torch.no_grad():
                x = self._newton(target, context)
                jacobian = self._jacobian(x, context)
            if torch.is_grad_enabled() and not x.is_meta:
                error = self._map(x, context).flatten(1) - target  # 0, but for rounding
                x = x - _solve(jacobian, error).reshape(x.shape)
            return x, -self._log_det(x, context)

    def _log_det(self, x: Tensor, context: Tensor | None) -> Tensor:
        if not x.shape[0]:
            return no_logdet(x)
        logdet: Tensor = torch.linalg.slogdet(self._jacobian(x, context).to(logdet_dtype(x)))[1]
        return logdet

    def _jacobian(self, x: Tensor, context: Tensor | None) -> Tensor:
        """dz/dx of each row, ``(B, D, D)``."""

        def row(x: Tensor, context: Tensor | None) -> Tensor:
            given = None if context is None else context[None]
            return self._map(x[None], given).flatten()

        if not x.shape[0]:
            return x.new_zeros(0, *(math.prod(self.event_shape),) * 2)
        axes = (0, None if context is None else 0)
        rows: Tensor = vmap(jacrev(row), in_dims=axes)(x, context)
        return rows.flatten(2)

    def _newton(self, target: Tensor, context: Tensor | None) -> Tensor:
        """x with f(x) = z, row by row."""
        x = target.reshape(len(target), *self.event_shape)
        error = self._map(x, context).flatten(1) - target
        eps = torch.finfo(x.dtype).eps
        for _ in range(_NEWTON_STEPS):
            if x.is_meta or not len(x):
                break
            step = _solve(self._jacobian(x, context), error).reshape(x.shape)
            x, error, moved = self._nearer(x, error, step, target, context)
            if not bool((moved.abs() > 4 * eps * (1 + x.abs())).any()):
                break
        return x

    def _nearer(
        self, x: Tensor, error: Tensor, step: Tensor, target: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One Newton step of each row, halved until it helps; 0 where nothing helps."""
        shape = (-1, *(1,) * (x.ndim - 1))
        size, factor = error.norm(dim=1), torch.ones_like(error[:, 0])
        for _ in range(_HALVINGS):
            tried = x - factor.reshape(shape) * step
            left = self._map(tried, context).flatten(1) - target
            worse = ~(left.norm(dim=1) < size)  # NaN counts as worse
            if not bool(worse.any()):
                return tried, left, tried - x
            factor = torch.where(worse, factor / 2, factor)
        factor = torch.where(worse, 0.0, factor)
        tried = x - torch.where(worse.reshape(shape), 0.0, factor.reshape(shape) * step)
        return tried, torch.where(worse[:, None], error, left), tried - x


def _solve(jacobian: Tensor, error: Tensor) -> Tensor:
    """J^-1 e of each row, never in half precision."""
    wide = logdet_dtype(error)
    step: Tensor = torch.linalg.solve(jacobian.to(wide), error.to(wide)[:, :, None])
    return step[:, :, 0].to(error)
