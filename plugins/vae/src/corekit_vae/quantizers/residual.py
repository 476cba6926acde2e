"""Residual quantization: each codebook quantizes what the ones before it left."""

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.quantizer import Quantized, Quantizer, straight_through
from corekit_vae.quantizers.vector import Learn, VectorQuantizer


class ResidualQuantizer(Quantizer):
    r"""A sum of vectors, one from each of L codebooks.

    .. math:: r_1 = z, \qquad r_{l+1} = r_l - e^{(l)}_{k_l}, \qquad z \approx \sum_l e^{(l)}_{k_l}

    Args:
        latent_shape: ``(D, *places)``.
        depth: L.
        codes: Of each codebook.
        commitment, learn, decay, restart_below: As for `VectorQuantizer`.

    Shape: z ``(B, D, *places)``; codes ``(B, L, *places)``, int64; loss ``(B,)``, the mean over the
        depths.

    Source: Lee et al., Autoregressive Image Generation using Residual Quantization, CVPR 2022,
        sec. 3.1, https://arxiv.org/abs/2203.01941.
    """

    def __init__(
        self,
        latent_shape: Shape,
        *,
        depth: int = 4,
        codes: int = 256,
        commitment: float = 0.25,
        learn: Learn = "average",
        decay: float = 0.99,
        restart_below: float = 0.0,
    ) -> None:
        super().__init__(latent_shape)
        if depth < 1:
            raise UsageError(f"ResidualQuantizer: depth must be at least 1, got {depth}.")
        options = {"codes": codes, "commitment": commitment, "learn": learn, "decay": decay}
        self.stages = nn.ModuleList(
            VectorQuantizer(latent_shape, restart_below=restart_below, seed=i, **options)  # type: ignore[arg-type]
            for i in range(depth)  # others each: a latent that became a code leaves nothing behind
        )
        self.levels, self.codes_shape = codes, (depth, *self.codes_shape)

    def initialize(self, z: Tensor) -> None:
        """Each codebook starts from what is left for it."""
        for stage in self._stages():
            stage.initialize(z)
            with torch.no_grad():
                z = z - stage.vectors(stage(z).codes).to(z.dtype)

    def _quantize(self, z: Tensor) -> Quantized:
        left, found = z, []
        for stage in self._stages():
            found.append(stage(left))
            left = left - stage.vectors(found[-1].codes).to(z.dtype).detach()
        terms: dict[str, Tensor] = {}
        for part in found:
            for name, value in part.terms.items():
                terms[name] = terms.get(name, 0) + value / len(found)
        statistics = {
            f"{name}_{depth}": value
            for depth, part in enumerate(found)
            for name, value in part.statistics.items()
        }
        codes = torch.stack([part.codes for part in found], 1)
        loss = torch.stack([part.loss for part in found]).mean(0)
        quantized = self._vectors(codes).to(z.dtype).detach()
        return Quantized(
            straight_through(z, quantized), codes, loss, terms, statistics, _all(found)
        )

    def _vectors(self, codes: Tensor) -> Tensor:
        parts = [stage.vectors(codes[:, i]) for i, stage in enumerate(self._stages())]
        return torch.stack(parts).sum(0)

    def _stages(self) -> list[VectorQuantizer]:
        return [stage for stage in self.stages if isinstance(stage, VectorQuantizer)]

    def observe(self, counts: Tensor, rows: Tensor) -> None:
        """Hand each codebook its own."""
        stages = self._stages()
        counts = counts.reshape(-1, len(stages), self.levels)
        rows = rows.reshape(-1, len(stages), self.levels, rows.shape[-1])
        for i, stage in enumerate(stages):
            stage.observe(counts[:, i].flatten(), rows[:, i].flatten(0, 1))


def _all(found: list[Quantized]) -> tuple[Tensor, Tensor] | None:
    seen = [part.seen for part in found if part.seen is not None]
    if not seen:
        return None
    return torch.cat([counts for counts, _ in seen]), torch.cat([rows for _, rows in seen])
