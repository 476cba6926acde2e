"""Lines between two points: around the origin instead of through it."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


def great_circle(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    r"""What divides the arc between two points in a share, 0 to 1 (slerp).

    .. math:: \frac{\sin((1 - s)\, \theta)\, a + \sin(s\, \theta)\, b}{\sin\theta}, \qquad
        \cos\theta = \frac{a \cdot b}{|a|\, |b|}

    What lies between two draws of noise is as long as they are. Points that are parallel are
    connected by a straight line.

    Shape: start, end ``(B, *event_shape)``; share ``()``.
    Source: Shoemake, Animating Rotation with Quaternion Curves, SIGGRAPH 1985.
    """
    cosine = cosine_similarity(start.flatten(1), end.flatten(1), dim=1).clamp(-1, 1)
    theta = cosine.acos().reshape(-1, *(1,) * (start.ndim - 1))
    around = torch.sin((1 - share) * theta) * start + torch.sin(share * theta) * end
    straight = torch.lerp(start, end, share)
    return torch.where(theta.sin() < 1e-3, straight, around / theta.sin().clamp(min=1e-3))
