"""VampPrior: the posterior of a few inputs that are made up, averaged."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from corekit.data_spec import Shape, Support
from corekit.errors import UsageError
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Condition


class VampPrior(Prior):
    r"""The mean of the encoder's posteriors of K pseudo-inputs, which are learned.

    .. math:: p(z) = \tfrac1K \sum_k q(z \mid u_k)

    It is attached to an encoder by the model whose prior it is, and keeps a reference: the weights
    are the encoder's, and are saved once. Any posterior with a density will do. The log-density
    takes K posteriors of each latent, so memory of the order B K D.

    The pseudo-inputs go through the encoder as in evaluation, with running statistics and without
    dropout, also while it trains: p is then a density that depends on the weights alone, and the
    running statistics are those of data. At the start of training, an encoder with batch norms so
    sees u_k with statistics that lag behind.

    Args:
        event_shape: Shape of z without the batch.
        condition: Not used: it is unconditional.
        pseudo_inputs: K.
        start: Where they start: at rows of the init set ("data"), or at random.
        mean: Of random ones.
        std: Of random ones.

    A temperature scales how far a draw is from the mode of its pseudo-input.

    Shape: z ``(B, *event_shape)``; log_prob ``(B,)``, nats; the pseudo-inputs
        ``(K, *event_shape of the data)``.

    Raises:
        UsageError: If it is attached to an encoder of points, or to one that is told a condition;
            or used without one.

    Source: Tomczak and Welling, VAE with a VampPrior, AISTATS 2018, eq. 9,
        https://arxiv.org/abs/1705.07120.
    """

    starts_from_x = True
    pseudo: nn.Parameter

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        pseudo_inputs: int = 50,
        start: Literal["data", "random"] = "data",
        mean: float = 0.5,
        std: float = 0.1,
    ) -> None:
        super().__init__()
        if pseudo_inputs < 1:
            raise UsageError(f"VampPrior: pseudo_inputs must be at least 1, got {pseudo_inputs}.")
        self.event_shape, self.pseudo_inputs = tuple(event_shape), pseudo_inputs
        self.start, self.mean, self.std = start, mean, std
        self._of: tuple[Encoder, ...] = ()  # in a tuple it is no submodule, and copied with it

    def attach(self, encoder: Encoder) -> None:
        """Take posteriors of this encoder, and make pseudo-inputs in the shape of its data."""
        if encoder.kind is not Likelihood.EXACT:
            raise UsageError(
                "VampPrior: the encoder must have a posterior with an exact density, got "
                f"{type(encoder).__name__} of the kind '{encoder.kind.value}'. Use vae.gaussian."
            )
        if getattr(encoder, "condition_width", 0):
            raise UsageError(
                "VampPrior: the encoder must be told x alone, got one that is told a condition of "
                f"{encoder.condition_width} numbers. Leave its condition out."
            )
        self._of, self.support = (encoder,), encoder.latent_support
        noise = torch.randn(self.pseudo_inputs, *encoder.event_shape)
        self.pseudo = nn.Parameter(self.mean + self.std * noise)

    @torch.no_grad()
    def initialize(self, x: Tensor, condition: Condition | None = None) -> None:
        """Start at rows of the data, evenly chosen; with too few rows some stay random."""
        if self.start == "data" and len(x):
            count = min(self.pseudo_inputs, len(x))
            chosen = torch.linspace(0, len(x) - 1, count, device=x.device).round().long()
            self.pseudo[:count] = x[chosen].to(self.pseudo.dtype)

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        rows, components = len(x), self.pseudo_inputs
        every = self._posterior(None).repeated(rows)  # all of them for the first z, then ...
        each = every.log_prob(x.repeat_interleave(components, 0)).value
        return LogProb(each.reshape(rows, components).logsumexp(1) - math.log(components))

    @torch.no_grad()
    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        chosen = draws.integers("component", self.pseudo_inputs, (n,), self.pseudo.device)
        posterior = self._posterior(chosen)
        z, _ = posterior.rsample_and_log_prob(draws)
        if temperature != 1:
            mode = posterior.mode
            z = mode + temperature * (z - mode)
            if self.support is Support.SPHERE:
                z = normalize(z.flatten(1), dim=1).reshape(z.shape)
        return z.to(self.pseudo.dtype)

    def _posterior(self, chosen: Tensor | None) -> Posterior:
        """Of all pseudo-inputs, or of those chosen."""
        if not self._of:
            raise UsageError(
                "VampPrior: it must be attached to an encoder, got none. Build it as the prior of "
                "a latent model."
            )
        inputs = self.pseudo if chosen is None else self.pseudo[chosen]
        with _evaluated(self._of[0]):
            found: Posterior = self._of[0](inputs)
        return found


@contextmanager
def _evaluated(module: nn.Module) -> Iterator[None]:
    """A block in which a module is in evaluation mode, each part of it put back behind."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
