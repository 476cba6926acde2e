"""What parts of a model learn from losses: told once per optimizer step, never in ``forward``."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from corekit.errors import PluginError
from corekit.interfaces.timestep_sampler import TimestepSampler
from corekit.train.processes import Processes

Observe = Callable[[Tensor, Tensor], None]


class Observers:
    """Hands what a loss has ``seen`` to the parts that it names.

    The rows of all accumulated parts and of all processes are put together, each process's behind
    those of the one before, so every process tells its copy of a part the same and the copies stay
    equal. What a part learns it keeps in buffers, which checkpoints hold. In one process nothing
    waits for the device; of several, numbers of rows are exchanged on the host.

    Args:
        model: Whose parts are named; unwrapped.
        processes: Whose rows are put together.
    """

    def __init__(self, model: nn.Module, processes: Processes) -> None:
        self._model, self._processes = model, processes
        self._found: dict[str, Observe | None] = {}
        self._seen: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def collect(self, seen: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Keep what one forward pass has seen, until `tell`."""
        for path, (t, losses) in seen.items():
            if path not in self._found:
                self._found[path] = self._observe(path)
            if self._found[path] is not None:
                self._seen.setdefault(path, []).append((t.detach(), losses.detach()))

    @torch.no_grad()
    def tell(self) -> None:
        """Hand everything collected to its parts; called once per optimizer step."""
        for path, pairs in self._seen.items():
            t, losses = (torch.cat(column) for column in zip(*pairs, strict=True))
            observe = self._found[path]
            if observe is not None:
                gathered = self._processes.gather_rows
                observe(gathered(t), gathered(losses.float()))
        self._seen.clear()

    def forget(self) -> None:
        """Drop everything collected: the step was not taken."""
        self._seen.clear()

    def _observe(self, path: str) -> Observe | None:
        """The method of a part; None for one that learns nothing, or is frozen."""
        try:
            part = self._model.get_submodule(path)
        except AttributeError as error:
            raise PluginError(
                f"{type(self._model).__name__}: LossTerms.seen must name parts of the model, "
                f"got '{path}'. {error}. A bug of the package of the loss."
            ) from error
        idle = getattr(type(part), "observe", None) in (None, TimestepSampler.observe)
        return None if idle or not part.training else part.observe  # type: ignore[return-value]
