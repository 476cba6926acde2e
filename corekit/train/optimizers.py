"""Optimizers of torch, as functions of the parameters."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
"""Parameters, or groups of them with options of their own, as torch's optimizers take them."""

OptimizerFactory = Callable[[Parameters], torch.optim.Optimizer]

# Fused kernels update all parameters in one pass; torch has them on these devices. They compute
# the same formula: tests/train/test_optimizers.py compares them with the plain loop.
_FUSED = ("cpu", "cuda", "mps", "xpu")


def _fused(
    make: Callable[..., torch.optim.Optimizer], parameters: Parameters, **options: Any
) -> torch.optim.Optimizer:
    given = list(parameters)
    fused = all(p.device.type in _FUSED and p.is_floating_point() for p in _each(given))
    return make(given, fused=fused, **options)


def _each(given: list[Any]) -> Iterator[nn.Parameter]:
    for item in given:
        yield from item["params"] if isinstance(item, dict) else [item]


def adam(
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> OptimizerFactory:
    r"""Adam.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        \theta \leftarrow \theta
        - \eta \frac{m / (1 - \beta_1^n)}{\sqrt{v / (1 - \beta_2^n)} + \epsilon}

    g includes weight_decay times theta; n counts steps from 1.

    Source: Kingma and Ba, ICLR 2015, algorithm 1, https://arxiv.org/abs/1412.6980.
    """
    return partial(_fused, torch.optim.Adam, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def adamw(
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> OptimizerFactory:
    r"""Adam with decoupled weight decay: theta <- (1 - eta weight_decay) theta before `adam`.

    Source: Loshchilov and Hutter, ICLR 2019, algorithm 2, https://arxiv.org/abs/1711.05101.
    """
    return partial(
        _fused, torch.optim.AdamW, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay
    )


def adamax(
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> OptimizerFactory:
    r"""Adam with the infinity norm: no step is larger than about eta.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
        \theta \leftarrow \theta - \frac{\eta}{1 - \beta_1^n} \frac{m}{u}

    torch has no fused kernel of it; on a GPU it updates all parameters together (``foreach``).

    Source: Kingma and Ba, ICLR 2015, algorithm 2, https://arxiv.org/abs/1412.6980.
    """
    return partial(torch.optim.Adamax, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def sgd(
    *, lr: float = 1e-2, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False
) -> OptimizerFactory:
    r"""Stochastic gradient descent: b <- mu b + g (g at the first step), theta <- theta - eta b.

    With ``nesterov`` theta moves along g + mu b instead. g includes weight_decay times theta.

    Source: Sutskever et al., ICML 2013, https://proceedings.mlr.press/v28/sutskever13.html, with
        eta outside of the velocity, as torch has it.
    """
    return partial(
        _fused,
        torch.optim.SGD,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
    )
