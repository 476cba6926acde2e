"""The arithmetic of PyTorch-VAE's VanillaVAE, written anew, to compare with."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (32, 64, 128, 256, 512)


class ReferenceVae(nn.Module):
    """Convolutions with a stride of 2 down to 2 x 2, and back, for pictures of 3 x 64 x 64."""

    def __init__(self, latent: int = 128, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        down = [_layer(nn.Conv2d(a, b, 3, 2, 1)) for a, b in pairwise((3, *widths))]
        self.encoder = nn.Sequential(*down)
        self.fc_mu = nn.Linear(4 * widths[-1], latent)
        self.fc_var = nn.Linear(4 * widths[-1], latent)
        self.decoder_input = nn.Linear(latent, 4 * widths[-1])
        back = [*reversed(widths), widths[0]]
        self.decoder = nn.Sequential(*(_layer(_up(a, b)) for a, b in pairwise(back)))
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures of latents."""
        h = self.decoder_input(z).view(len(z), -1, 2, 2)
        return self.last(self.decoder(h)).tanh()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, its reconstruction and its KL."""
        h = self.encoder(x).flatten(1)
        mu, log_var = self.fc_mu(h), self.fc_var(h)
        made = self.decode(mu + torch.randn_like(mu) * torch.exp(0.5 * log_var))
        error = F.mse_loss(made, x)
        kl = torch.mean(-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1), dim=0)
        return error + 0.00025 * kl, error.detach(), -kl.detach()


def _layer(conv: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.LeakyReLU())


def _up(a: int, b: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(a, b, 3, 2, 1, output_padding=1)
