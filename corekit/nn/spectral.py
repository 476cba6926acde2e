"""A linear layer whose weights are divided by their largest singular value."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize


class SpectralLinear(nn.Linear):
    r"""A linear map that stretches nothing by more than 1, up to the error of power iteration.

    .. math::
        y = \frac{W}{\sigma} x + b, \qquad \sigma = u^\top W v, \qquad
        v \leftarrow \frac{W^\top u}{\|W^\top u\|}, \quad u \leftarrow \frac{W v}{\|W v\|}

    u and v move by one iteration per call in training, before it, without a gradient, and stay as
    they are in evaluation. Gradients pass through sigma.

    Args:
        in_features: Of x.
        out_features: Of y.

    Shape: x ``(..., in_features)``; y ``(..., out_features)``.

    Source: Miyato et al., Spectral Normalization for GANs, ICLR 2018, alg. 1,
        https://arxiv.org/abs/1802.05957.
    """

    u: Tensor
    v: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("u", normalize(torch.randn(out_features), dim=0))
        self.register_buffer("v", normalize(torch.randn(in_features), dim=0))
        for _ in range(15):  # a layer that is new is not far from the rule
            self.iterate()

    @torch.no_grad()
    def iterate(self) -> None:
        """One step of power iteration. Sums, not products: these autocast would round."""
        v = normalize((self.weight * self.u.unsqueeze(1)).sum(0), dim=0, eps=1e-12)
        self.v.copy_(v)
        self.u.copy_(normalize((self.weight * v).sum(1), dim=0, eps=1e-12))

    def sigma(self) -> Tensor:
        """The estimate of the largest singular value."""
        found: Tensor = (self.u.clone() * (self.weight * self.v.clone()).sum(1)).sum()
        return found

    def forward(self, x: Tensor) -> Tensor:
        """y."""
        if self.training:
            self.iterate()
        return linear(x, self.weight / self.sigma(), self.bias)
