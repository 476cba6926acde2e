"""A mixture of Gaussians that starts where the latents are."""

import torch
from torch import Tensor

from corekit.flows.bases import Mixture
from corekit.interfaces.records import Condition


class LatentMixture(Mixture):
    """`corekit.flows.bases.Mixture`, whose components start on latents of the data.

    The centres are latents of K rows, evenly chosen from the init set; with fewer rows the other
    centres stay where they were drawn. The scales start at the deviation of the latents, divided by
    K^(1/D) in D dimensions, so that all components together cover about what the latents do.
    """

    @torch.no_grad()
    def initialize(self, x: Tensor, condition: Condition | None = None) -> None:
        """Set centres and scales from latents; then the network starts."""
        rows = x.flatten(1).to(self.start.dtype)
        size, count = rows.shape[1], min(self.components, len(rows))
        if len(rows) > 1:
            chosen = torch.linspace(0, len(rows) - 1, count, device=rows.device).round().long()
            spread = rows.std(0).clamp(min=1e-6).log()
            shrunk = torch.tensor(float(self.components)).log() / size
            self.start[:count, :size] = rows[chosen]
            self.start[:, size : 2 * size] = spread - shrunk
        super().initialize(x, condition)
