"""The NoiseSchedule interface: how much signal and how much noise at each time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.records import NoiseLevel, Reverse

Table = NDArray[np.float64]

_TINY = 1e-30
"""A variance of 0, where its logarithm is asked for."""


class NoiseSchedule(ABC):
    r"""The forward process :math:`x_t = \alpha(\tau)\, x_0 + \sigma(\tau)\, \varepsilon`.

    Time :math:`\tau \in [0, 1]` runs from clean data to noise. Variance-preserving schedules have
    alpha^2 + sigma^2 = 1; rectified flow has alpha = 1 - tau, sigma = tau.

    **Implement one.** Write ``at(time)`` (float64 in, float64 out: samplers compute their
    coefficients from it) and ``time_of(log_snr)``. A schedule is a constant, not a module: it has
    no state, and nothing of it is in a checkpoint.
    """

    @abstractmethod
    def at(self, time: Tensor) -> NoiseLevel:
        """The noise level at each time, in the dtype and on the device of ``time``."""

    @abstractmethod
    def time_of(self, log_snr: Tensor) -> Tensor:
        """The time at which log(alpha^2 / sigma^2) has the given value."""

    def times(self, steps: int) -> Tensor:
        """``steps + 1`` times from noise to clean data, for a sampler of that many steps."""
        return torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)

    @property
    def default_steps(self) -> int:
        """How many steps a sampler takes unless told otherwise."""
        return 100


class DiscreteSchedule(NoiseSchedule):
    r"""A schedule of T steps given by its betas.

    .. math::
        \bar\alpha_t = \prod_{s \le t} (1 - \beta_s), \qquad
        \alpha = \sqrt{\bar\alpha_t}, \qquad \sigma = \sqrt{1 - \bar\alpha_t}

    Level t = 0 ... T-1 lies at time (t + 1) / T; time 0 is clean data. Tables are NumPy float64
    constants, cast at use: neither ``.half()`` nor a state dict touches them.

    Args:
        betas: ``(T,)``, literal; the first above 0, all below 1 but the last, which may be 1.
        original: For a respaced schedule, the original integer t of each level.

    Raises:
        UsageError: If the betas are not a one-dimensional table of such numbers.

    Source:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, eq. 2-4,
        https://arxiv.org/abs/2006.11239.
    """

    def __init__(
        self, betas: Sequence[float] | Table, original: Sequence[int] | None = None
    ) -> None:
        table = np.asarray(betas, dtype=np.float64)
        who = type(self).__name__
        if table.ndim != 1 or not len(table):
            raise UsageError(f"{who}: betas must be a table of T numbers, got shape {table.shape}.")
        fine = table[0] > 0 and np.all(table >= 0) and np.all(table[:-1] < 1) and table[-1] <= 1
        if not fine:  # a first beta of 0 would be a level without noise, where eps is undefined
            raise UsageError(
                f"{who}: betas must lie in [0, 1), the first above 0 (the last may be 1), "
                f"got {table.min()} ... {table.max()}, the first {table[0]}."
            )
        self.betas = table
        self.alphas_cumprod = np.cumprod(1 - table)
        kept = np.arange(len(table)) if original is None else original
        self.original = np.asarray(kept, dtype=np.int64)
        self._grids: dict[tuple[torch.device, torch.dtype], NoiseLevel] = {}

    @property
    def steps(self) -> int:
        """T, the number of levels."""
        return len(self.betas)

    @property
    def default_steps(self) -> int:
        """As many steps as there are levels."""
        return self.steps

    @property
    def alphas_cumprod_prev(self) -> Table:
        """alphas_cumprod one level nearer to the data, 1 for t = 0."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @property
    def posterior_variance(self) -> Table:
        """Variance of q(x_{t-1} | x_t, x_0), ``(T,)``; 0 for t = 0. Ho et al., eq. 7."""
        return self.betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    def level(self, t: Tensor) -> NoiseLevel:
        """The noise level of integer steps t = 0 ... T-1, in float32, on the device of t."""
        return self._grid(t.device, torch.float32).map(lambda column: column[t + 1])

    def at(self, time: Tensor) -> NoiseLevel:
        """The level at times k / T, k = 0 ... T; other times are rounded to the nearest."""
        index = (time.double() * self.steps).round().long().clamp(0, self.steps)
        return self._grid(time.device, time.dtype).map(lambda column: column[index])

    def time_of(self, log_snr: Tensor) -> Tensor:
        """The time, between levels, at which the (linearly interpolated) log-SNR has a value."""
        with np.errstate(divide="ignore"):  # the last level may be without signal
            table = np.log(self.alphas_cumprod) - np.log1p(-self.alphas_cumprod)
        grid = np.arange(1, self.steps + 1) / self.steps
        found = np.interp(-log_snr.detach().double().cpu().numpy(), -table, grid)
        return torch.as_tensor(found, dtype=log_snr.dtype, device=log_snr.device)

    def times(self, steps: int) -> Tensor:
        """``steps + 1`` times from the noisiest level to clean data, spread over the levels."""
        if not 1 <= steps <= self.steps:
            raise UsageError(
                f"{type(self).__name__}: the number of sampling steps must lie in "
                f"1 ... {self.steps}, got {steps}."
            )
        kept = np.round(np.linspace(self.steps, 0, steps + 1))
        return torch.as_tensor(kept / self.steps)

    def respace(self, timesteps: Sequence[int]) -> "DiscreteSchedule":
        """A schedule of a subset of the levels with the same alphas_cumprod at each.

        Source: Nichol and Dhariwal, Improved DDPM, ICML 2021, section 4,
            https://arxiv.org/abs/2102.09672.
        """
        kept = np.asarray(sorted(set(timesteps)), dtype=np.int64)
        if not len(kept) or kept[0] < 0 or kept[-1] >= self.steps:
            raise UsageError(
                f"{type(self).__name__}: timesteps must lie in 0 ... {self.steps - 1}, "
                f"got {list(timesteps)}."
            )
        products = self.alphas_cumprod[kept]
        betas = 1 - products / np.append(1.0, products[:-1])
        return DiscreteSchedule(betas, self.original[kept].tolist())

    def _grid(self, device: torch.device, dtype: torch.dtype) -> NoiseLevel:
        """All levels, clean data in front, ``(T + 1,)`` each; made once per device and dtype."""
        key = (device, dtype)
        if key not in self._grids:
            product = np.append(1.0, self.alphas_cumprod)
            alpha, sigma = np.sqrt(product), np.sqrt(1 - product)
            with np.errstate(divide="ignore"):
                log_snr = np.log(product) - np.log1p(-product)
            grid = np.arange(self.steps + 1) / self.steps
            slopes = [np.gradient(y, grid) for y in (alpha, sigma)]  # finite differences
            columns = (grid, alpha, sigma, *slopes, log_snr)
            # device="cpu" first: float64 exists everywhere there, and no default device interferes
            values = [torch.as_tensor(c, device="cpu").to(dtype).to(device) for c in columns]
            step = torch.as_tensor(np.append(-1, self.original), device="cpu").to(device)
            beta = torch.as_tensor(np.append(0.0, self.betas), device="cpu").to(dtype).to(device)
            back = (torch.as_tensor(c, device="cpu").to(dtype).to(device) for c in self._reverse())
            time, alphas, sigmas, dalpha, dsigma, snr = values
            self._grids[key] = NoiseLevel(
                time, alphas, sigmas, dalpha, dsigma, snr, step, beta, Reverse(*back)
            )
        return self._grids[key]

    def _reverse(self) -> tuple[Table, Table, Table, Table]:
        """The columns of `Reverse` for all levels; clean data in front are as the first."""
        beta, product, before = self.betas, self.alphas_cumprod, self.alphas_cumprod_prev
        small = self.posterior_variance
        small[0] = small[1] if self.steps > 1 else beta[0]
        from_x_t = (1 - before) * np.sqrt(1 - beta) / (1 - product)
        from_x_0 = beta * np.sqrt(before) / (1 - product)
        logs = (np.log(np.maximum(variance, _TINY)) for variance in (small, beta))
        return tuple(np.append(c[:1], c) for c in (from_x_t, from_x_0, *logs))  # type: ignore[return-value]
