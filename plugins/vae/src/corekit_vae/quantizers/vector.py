"""Vector quantization: the nearest vector of a learned codebook."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.draws import seed_of
from corekit.interfaces.precision import full_precision, wide
from corekit.interfaces.quantizer import Quantized, Quantizer, straight_through
from corekit_vae.quantizers.usage import counts_of, usage

Learn = Literal["loss", "average"]


class VectorQuantizer(Quantizer):
    r"""The nearest of K vectors in Euclidean distance.

    .. math::
        k = \arg\min_j |z - e_j|^2, \qquad
        L = \tfrac1n \sum |sg[z] - e_k|^2 + \beta\, \tfrac1n \sum |z - sg[e_k]|^2

    with sg a stop of the gradient and n the number of elements of a latent. The gradient of what
    comes after goes to z as if nothing had been rounded. Either the first term moves the codes, or
    each code is a moving average of the latents that were nearest to it:

    .. math::
        N_k \leftarrow \gamma N_k + (1 - \gamma) n_k, \quad
        m_k \leftarrow \gamma m_k + (1 - \gamma) \sum_{z \to k} z, \quad e_k = m_k / N_k

    Args:
        latent_shape: ``(D, *places)``.
        codes: K.
        commitment: beta.
        learn: "average", or "loss".
        decay: gamma of the moving average.
        restart_below: A code that was taken less often than this, in a moving average per step and
            in latents, starts anew at a latent of the batch; 0: never.
        start: "data": codes are random latents of the training data; "uniform": on [-1/K, 1/K].
        seed: Of which latents.

    Shape: z ``(B, D, *places)``; codes ``(B, *places)``, int64; loss ``(B,)``, squared latent
        units, mean over the elements.

    Source: van den Oord et al., Neural Discrete Representation Learning, NeurIPS 2017, eq. 3 and
        appendix A.1, https://arxiv.org/abs/1711.00937; restarts as in Dhariwal et al., Jukebox,
        2020, sec. 3.1, https://arxiv.org/abs/2005.00341.
    """

    taken: Tensor
    total: Tensor

    def __init__(
        self,
        latent_shape: Shape,
        *,
        codes: int = 512,
        commitment: float = 0.25,
        learn: Learn = "average",
        decay: float = 0.99,
        restart_below: float = 0.0,
        start: Literal["data", "uniform"] = "data",
        seed: int = 0,
    ) -> None:
        super().__init__(latent_shape)
        _check(codes, commitment, learn, decay, restart_below, start)
        self.levels, self.commitment, self.learn = codes, commitment, learn
        self.places = math.prod(self.codes_shape)
        self.decay, self.restart_below = decay, restart_below
        self.start, self.seed = start, seed
        first = torch.empty(codes, latent_shape[0]).uniform_(-1 / codes, 1 / codes)
        if learn == "loss":
            self.codebook = nn.Parameter(first)
        else:
            self.register_buffer("codebook", first)
            self.register_buffer("total", first.clone())
        self.register_buffer("taken", torch.ones(codes))

    def initialize(self, z: Tensor) -> None:
        """Let the codes be random latents of data, where they are to start there.

        Which ones depends on the seed alone: all processes choose the same.
        """
        if self.start != "data":
            return
        rows = self._rows(z)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(seed_of("codes", self.seed))
            chosen = rows[torch.randperm(len(rows), generator=generator)[: self.levels]]
            times = -(-self.levels // len(chosen))
            spread = chosen.repeat(times, 1)[: self.levels].to(self.codebook.dtype)
            if times > 1:  # too few latents: equal codes would never part
                noise = torch.randn(spread.shape, generator=generator).to(spread)
                spread = spread + 1e-3 * spread.std() * noise
            self.codebook.copy_(spread)
            if self.learn == "average":
                self.total.copy_(spread)

    def _quantize(self, z: Tensor) -> Quantized:
        rows = self._rows(z)
        with torch.no_grad(), full_precision(z):
            codes = nearest(wide(rows), wide(self.codebook))
        taken = self.codebook[codes]
        grid = (z.shape[0], *self.codes_shape)
        quantized = taken.reshape(len(z), self.places, z.shape[1]).transpose(1, 2).reshape(z.shape)
        quantized = quantized.to(z.dtype)
        terms = {"commitment": _mean_square(quantized.detach() - z)}
        loss = self.commitment * terms["commitment"]
        if self.learn == "loss":
            terms["codebook"] = _mean_square(quantized - z.detach())
            loss = loss + terms["codebook"]
        counts = counts_of(codes, self.levels)
        seen = self._seen(rows.detach(), codes, counts) if self.training else None
        through = straight_through(z, quantized)
        return Quantized(through, codes.reshape(grid), loss, terms, usage(counts), seen)

    def _vectors(self, codes: Tensor) -> Tensor:
        found = self.codebook[codes.flatten(1)]  # (B, places, D)
        return found.transpose(1, 2).reshape(codes.shape[0], *self.latent_shape)

    def _rows(self, z: Tensor) -> Tensor:
        """All vectors of a batch, ``(B * places, D)``."""
        return z.flatten(2).transpose(1, 2).flatten(0, 1) if z.ndim > 2 else z

    def _seen(self, rows: Tensor, codes: Tensor, counts: Tensor) -> tuple[Tensor, Tensor] | None:
        """Counts ``(K,)``; sums of the latents of each code and a latent to restart at."""
        if self.learn == "loss" and not self.restart_below:
            return None
        sums = torch.zeros(self.levels, rows.shape[1], device=rows.device, dtype=torch.float32)
        sums.index_add_(0, codes, rows.float())
        # Evenly over the batch: no noise, and the same in every process after they are gathered.
        places = torch.arange(self.levels, device=rows.device) * len(rows) // self.levels
        return counts, torch.cat((sums, rows[places].float()), dim=1)

    @torch.no_grad()
    def observe(self, counts: Tensor, rows: Tensor) -> None:
        """Move the codes to the average of their latents, and restart those that nobody takes.

        Shape: counts ``(P * K,)`` and rows ``(P * K, 2 D)`` of P forward passes.
        """
        counts = counts.reshape(-1, self.levels).sum(0)
        parts = rows.reshape(-1, self.levels, rows.shape[-1])
        sums, fresh = parts.sum(0)[:, : rows.shape[-1] // 2], parts[0][:, rows.shape[-1] // 2 :]
        self.taken.lerp_(counts.to(self.taken), 1 - self.decay)
        if self.learn == "average":
            self.total.lerp_(sums.to(self.total), 1 - self.decay)
            self.codebook.copy_(self.total / self.taken.clamp(min=1e-5)[:, None])
        if self.restart_below:
            idle = (self.taken < self.restart_below)[:, None]
            fresh = fresh.to(self.codebook)
            self.codebook.copy_(torch.where(idle, fresh, self.codebook))
            if self.learn == "average":
                self.total.copy_(torch.where(idle, fresh, self.total))
            self.taken.copy_(torch.where(idle[:, 0], torch.ones_like(self.taken), self.taken))


def nearest(rows: Tensor, codebook: Tensor, at_once: int = 65_536) -> Tensor:
    """Number of the nearest code of each row ``(N, D)``, ``(N,)``; memory stays bounded."""
    squares = 0.5 * codebook.square().sum(1)
    parts = [(squares - part @ codebook.T).argmin(1) for part in rows.split(at_once)]
    return torch.cat(parts) if parts else rows.new_zeros(0, dtype=torch.int64)


def _mean_square(difference: Tensor) -> Tensor:
    return wide(difference).square().flatten(1).mean(1)


def _check(
    codes: int, commitment: float, learn: str, decay: float, restart_below: float, start: str
) -> None:
    if codes < 2:
        raise UsageError(f"VectorQuantizer: codes must be at least 2, got {codes}.")
    if not commitment >= 0 or not restart_below >= 0 or not 0 <= decay < 1:
        raise UsageError(
            "VectorQuantizer: commitment and restart_below must be at least 0 and decay lie in "
            f"[0, 1), got {commitment}, {restart_below} and {decay}."
        )
    if learn not in ("loss", "average") or start not in ("data", "uniform"):
        raise UsageError(
            "VectorQuantizer: learn must be 'loss' or 'average' and start 'data' or 'uniform', got "
            f"{learn!r} and {start!r}."
        )
