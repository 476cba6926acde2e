"""The arithmetic of diffusion-point-cloud's FlowVAE, restated straight from its description.

For tests (the same numbers) and benchmarks (the speed to beat). Names of tensors are the
reference's, so that its state dict loads. Nothing here is fast, and nothing is corrected.
"""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class Encoder(nn.Module):
    def __init__(self, latent):
        super().__init__()
        sizes = [3, 128, 128, 256, 512]
        for i, (a, b) in enumerate(pairwise(sizes), 1):
            setattr(self, f"conv{i}", nn.Conv1d(a, b, 1))
            setattr(self, f"bn{i}", nn.BatchNorm1d(b))
        for head in "mv":
            for i, (a, b) in enumerate([(512, 256), (256, 128), (128, latent)], 1):
                setattr(self, f"fc{i}_{head}", nn.Linear(a, b))
            setattr(self, f"fc_bn1_{head}", nn.BatchNorm1d(256))
            setattr(self, f"fc_bn2_{head}", nn.BatchNorm1d(128))

    def forward(self, x):
        x = x.transpose(1, 2)
        for i in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
        x = self.bn4(self.conv4(x)).max(dim=2)[0]
        return self.head(x, "m"), self.head(x, "v")

    def head(self, x, h):
        x = F.relu(getattr(self, f"fc_bn1_{h}")(getattr(self, f"fc1_{h}")(x)))
        x = F.relu(getattr(self, f"fc_bn2_{h}")(getattr(self, f"fc2_{h}")(x)))
        return getattr(self, f"fc3_{h}")(x)


class Coupling(nn.Module):
    def __init__(self, d, hidden, swap):
        super().__init__()
        self.h, self.swap = d - d // 2, swap
        self.net_s_t = nn.Sequential(
            nn.Linear(self.h, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 2 * (d - self.h)),
        )  # fmt: skip

    def forward(self, x, logp):
        if self.swap:
            x = torch.cat([x[:, self.h :], x[:, : self.h]], 1)
        s_t = self.net_s_t(x[:, : self.h])
        n = x.shape[1] - self.h
        scale = torch.sigmoid(s_t[:, :n] + 2.0)
        y = torch.cat([x[:, : self.h], x[:, self.h :] * scale + s_t[:, n:]], 1)
        if self.swap:
            y = torch.cat([y[:, self.h :], y[:, : self.h]], 1)
        return y, logp - torch.log(scale).sum(1, keepdim=True)


class Flow(nn.Module):
    def __init__(self, d, hidden, depth):
        super().__init__()
        self.chain = nn.ModuleList(Coupling(d, hidden, i % 2 == 0) for i in range(depth))

    def forward(self, x, logp):
        for layer in self.chain:
            x, logp = layer(x, logp)
        return x, logp


class ConcatSquash(nn.Module):
    def __init__(self, a, b, context):
        super().__init__()
        self._layer = nn.Linear(a, b)
        self._hyper_bias = nn.Linear(context, b, bias=False)
        self._hyper_gate = nn.Linear(context, b)

    def forward(self, context, x):
        gate = torch.sigmoid(self._hyper_gate(context))
        return self._layer(x) * gate + self._hyper_bias(context)


class Denoiser(nn.Module):
    def __init__(self, latent, residual=True):
        super().__init__()
        self.residual = residual
        sizes = [3, 128, 256, 512, 256, 128, 3]
        self.layers = nn.ModuleList(ConcatSquash(a, b, latent + 3) for a, b in pairwise(sizes))

    def forward(self, x, beta, context):
        beta = beta.view(-1, 1, 1)
        context = torch.cat([beta, beta.sin(), beta.cos(), context.unsqueeze(1)], dim=-1)
        y = x
        for i, layer in enumerate(self.layers):
            y = layer(context, y)
            if i < len(self.layers) - 1:
                y = F.leaky_relu(y)
        return x + y if self.residual else y


class Diffusion(nn.Module):
    def __init__(self, latent, betas):
        super().__init__()
        self.net = Denoiser(latent)
        self.register_buffer("betas", betas, persistent=False)  # index 0 is padding
        self.register_buffer("alpha_bars", torch.cumprod(1 - betas, 0), persistent=False)

    def loss(self, x, context, t, eps):
        abar = self.alpha_bars[t].view(-1, 1, 1)
        x_t = torch.sqrt(abar) * x + torch.sqrt(1 - abar) * eps
        out = self.net(x_t, self.betas[t], context)
        return F.mse_loss(out.reshape(-1, 3), eps.reshape(-1, 3))


class FlowVae(nn.Module):
    """The whole model; ``loss`` has the reference's constant."""

    def __init__(self, latent, depth, hidden, betas):
        super().__init__()
        self.encoder = Encoder(latent)
        self.flow = Flow(latent, hidden, depth)
        self.diffusion = Diffusion(latent, betas)

    def loss(self, x, kl_weight, t, eps_z, eps):
        mu, log_var = self.encoder(x)
        z = mu + torch.exp(0.5 * log_var) * eps_z
        d = z.shape[1]
        entropy = 0.5 * d * (1 + math.log(2 * math.pi)) + 0.5 * log_var.sum(1)
        w, delta = self.flow(z, torch.zeros_like(z[:, :1]))
        log_pw = (-0.5 * w**2 - 0.5 * d * math.log(2 * math.pi)).sum(1, keepdim=True)
        log_pz = log_pw - delta
        prior = kl_weight * (-entropy.mean() - log_pz.mean())
        return prior + self.diffusion.loss(x, z, t, eps)
