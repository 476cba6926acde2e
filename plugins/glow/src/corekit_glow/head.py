"""What tells classes, or several labels, from the deepest latent."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear

from corekit.errors import UsageError

FACTOR = 3.0
"""Multiplies the rate of the scales."""


class ClassHead(nn.Module):
    r"""Logits of labels from the mean of a latent over its positions, by a layer of zeros at first.

    .. math:: \ell_k = (w_k \cdot \bar z + b_k)\, e^{3 s_k}, \qquad
        \bar z_c = \tfrac1{HW} \sum_{ij} z_{cij}

    One of K classes has the probabilities softmax(l), and the loss -log softmax(l)_y. Of K labels
    that are 0 or 1 each has sigmoid(l_k), and the loss is the sum over them,

    .. math:: -\sum_k \big( y_k \log\sigma(\ell_k) + (1 - y_k) \log\sigma(-\ell_k) \big)

    It is computed from the logits: their sigmoid is taken here, and nowhere before.

    Args:
        channels: Of the latent.
        labels: K.
        several: Whether each of the labels is 0 or 1 by itself.

    Shape: z ``(B, channels, ...)``, logits ``(B, K)``; y ``(B,)`` of classes, int64, -1 for a row
        without one, which has no loss; or ``(B, K)`` of numbers in [0, 1]. loss ``(B,)``, nats.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, their code (``weight_y``);
        chaiyujin/glow-pytorch (several labels; it takes their mean).
    """

    def __init__(self, channels: int, labels: int, *, several: bool = False) -> None:
        super().__init__()
        self.several = several
        self.weight = nn.Parameter(torch.zeros(labels, channels))
        self.bias = nn.Parameter(torch.zeros(labels))
        self.logs = nn.Parameter(torch.zeros(labels))

    def forward(self, z: Tensor) -> Tensor:
        """The logits."""
        wide = torch.promote_types(z.dtype, torch.float32)
        mean = z.to(wide).flatten(2).mean(2) if z.ndim > 2 else z.to(wide)
        logits = linear(mean, self.weight.to(wide), self.bias.to(wide))
        return logits * (FACTOR * self.logs.to(wide)).exp()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class, which sum to one, or of each label; ``(B, K)``."""
        return logits.sigmoid() if self.several else logits.softmax(1)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """-log p(y | z), nats.

        Raises:
            UsageError: If y are no such labels.
        """
        if y.device.type == "cpu":
            self._check(y)
        if not self.several:
            return cross_entropy(logits, y, reduction="none", ignore_index=-1)
        target = y.flatten(1).to(logits.dtype)
        return binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)

    def accuracy(self, logits: Tensor, y: Tensor) -> Tensor:
        """The share of the labels of a row that are the most probable ones: 0 or 1 of a class."""
        if not self.several:
            return (logits.argmax(1) == y).to(logits.dtype)
        return ((logits > 0) == (y.flatten(1) > 0.5)).to(logits.dtype).mean(1)

    def _check(self, y: Tensor) -> None:
        labels = len(self.bias)
        low, high = (0.0, 1.0) if self.several else (-1, labels - 1)
        if y.numel() and not (low <= y.min() and y.max() <= high):
            rule = "each be 0 or 1" if self.several else f"lie in 0 to {high}, or be -1 for none"
            raise UsageError(
                f"ClassHead: labels must {rule}, got {y.min().item():g} to {y.max().item():g}. "
                + ("Convert -1 to 0." if self.several else "Set classes to their number.")
            )
