"""Data as a model computes with them: of mean 0 and standard deviation 1, and the way back."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.records import LossTerms


class Standardization(nn.Module):
    r"""An affine map of data, whose constants are kept with the weights.

    .. math:: u = (x - \mu) / \sigma, \qquad
        \log p_x(x) = \log p_u(u) - \sum_i \log \sigma_i

    Args:
        mean: mu, of each feature, or one number for all of an event.
        std: sigma, positive.

    Shape: x and u ``(B, *event_shape)``; logdet ``(B,)``, nats, float64 if x is, else float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        shape = (len(mean),) if len(mean) > 1 else ()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        """u of x."""
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)

    def inverse(self, u: Tensor) -> Tensor:
        """x of u."""
        return u * self.std.to(u.dtype) + self.mean.to(u.dtype)

    def logdet(self, x: Tensor) -> Tensor:
        """log |det du/dx|, the same for all rows."""
        wide = torch.promote_types(x.dtype, torch.float32)
        return -self.std.to(wide).log().expand(x.shape[1:]).sum().expand(len(x))


class OfData(nn.Module):
    """A part whose x may be data; if so it can be told to compute with them standardised.

    Whoever calls it gives and gets data as they are: its public methods go there and back.
    """

    def standardize(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Compute with (x - mean) / std from now on; see `Standardization`."""
        self.add_module("standard", Standardization(mean, std))

    @property
    def _standard(self) -> Standardization | None:
        found = self._modules.get("standard")
        return found if isinstance(found, Standardization) else None

    def standardized(self, x: Tensor) -> Tensor:
        """Data as this part computes with them."""
        return x if self._standard is None else self._standard(x)

    def restored(self, u: Tensor) -> Tensor:
        """Data as they are."""
        return u if self._standard is None else self._standard.inverse(u)

    def log_prob_of_data(self, found: LogProb, x: Tensor) -> LogProb:
        """log p of data, from that of standardised data; of the same kind."""
        if self._standard is None:
            return found
        return LogProb(found.value + self._standard.logdet(x), found.kind)

    def _terms_of_data(self, terms: LossTerms, x: Tensor) -> LossTerms:
        """Terms of which ``nll``, if it is in nats, is that of data, and the total with it."""
        if self._standard is None or terms.units.get("nll") != "nats":
            return terms
        nll = terms.terms["nll"]
        shifted = nll - self._standard.logdet(x)
        total = shifted if terms.total is nll else terms.total
        return terms._replace(total=total, terms={**terms.terms, "nll": shifted})
