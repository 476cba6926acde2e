"""Optimizers of torch, as functions of the parameters."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

# Fused kernels update all parameters in one pass; torch has them on these devices.
_FUSED = ("cpu", "cuda", "mps", "xpu")


def _fused(
    make: Callable[..., torch.optim.Optimizer], parameters: Any, **options: Any
) -> torch.optim.Optimizer:
    parameters = list(parameters)
    fused = all(p.device.type in _FUSED and p.is_floating_point() for p in parameters)
    return make(parameters, fused=fused, **options)


def adam(
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> OptimizerFactory:
    """Adam. Kingma and Ba, ICLR 2015, https://arxiv.org/abs/1412.6980."""
    return partial(_fused, torch.optim.Adam, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def adamw(
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> OptimizerFactory:
    """Adam with decoupled weight decay. Loshchilov and Hutter, https://arxiv.org/abs/1711.05101."""
    return partial(
        _fused, torch.optim.AdamW, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay
    )


def sgd(
    *, lr: float = 1e-2, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False
) -> OptimizerFactory:
    """Stochastic gradient descent."""
    return partial(
        _fused,
        torch.optim.SGD,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
    )
