"""The processes of one launch, and how they share work. One process is the main one of one."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from corekit.errors import CorekitError
from corekit.train.stopping import Stop, Stopped

T = TypeVar("T")
R = TypeVar("R")


class Processes:
    """Talk between the processes of a launch, over the host: no accelerator waits for it.

    Every method but the properties must be called by all processes, in the same order.
    """

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.world: int = dist.get_world_size() if together else 1
        self.rank: int = dist.get_rank() if together else 0
        self._group = dist.new_group(backend="gloo") if self.world > 1 else None
        self._asked: tuple[Tensor, Any] | None = None

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the order of their ranks."""
        if self._group is None:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self._group)
        return values

    def gather_rows(self, rows: Tensor) -> Tensor:
        """The rows of all processes, one rank's after another's; each may have its own number.

        Shape: ``(n of this rank, ...)`` to ``(sum of n, ...)``, on the device of the rows. Only
        numbers of rows are exchanged on the host.
        """
        if self._group is None:
            return rows
        count = torch.tensor([len(rows)])
        counts = [torch.zeros_like(count) for _ in range(self.world)]
        dist.all_gather(counts, count, group=self._group)
        sizes = [int(n) for n in counts]
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean over processes of numbers that all of them have."""
        if self._group is None or not values:
            return values
        numbers = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(numbers, group=self._group)
        return dict(zip(values, (numbers / self.world).tolist(), strict=True))

    def from_main(self, function: Callable[[], R]) -> R:
        """What the function gives on the main process; an error there is raised on all."""
        if self._group is None:
            return function()
        box: list[Any] = [None, None]
        failure: Exception | None = None
        if self.main:
            try:
                box[0] = function()
            except Exception as error:
                failure, box[1] = error, _sendable(error)
        dist.broadcast_object_list(box, src=0, group=self._group)
        if failure is not None:
            raise failure
        if box[1] is not None:
            box[1].told = True  # the main process tells it
            raise box[1]
        return box[0]

    def greatest_so_far(self, number: int) -> int:
        """The greatest number that any process gave at the call before this one.

        Nobody waits: the numbers travel while the next step is computed, and all processes hear of
        them at the same call, so all of them stop after the same step.
        """
        if self._group is None:
            return number
        found = 0
        if self._asked is not None:
            numbers, work = self._asked
            work.wait()
            found = int(numbers)
        numbers = torch.tensor(number)
        work = dist.all_reduce(numbers, dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._asked = numbers, work
        return found

    def settle(self) -> int:
        """End a series of `greatest_so_far`: the greatest number of its last call."""
        if self._asked is None:
            return 0
        (numbers, work), self._asked = self._asked, None
        work.wait()
        return int(numbers)

    def align(self, model: nn.Module, *, weights: bool = False) -> None:
        """Give every process the buffers (and weights) of the main one."""
        if self.world == 1:
            return
        for tensor in (*model.buffers(), *(model.parameters() if weights else ())):
            dist.broadcast(tensor.data, src=0)


class Share:
    """Work on pieces, split over the processes, until someone is told to stop.

    Args:
        processes: Who shares; one process does everything.
        stop: Polled before each piece.
    """

    def __init__(self, processes: Processes | None = None, stop: Stop | None = None) -> None:
        self.processes, self.stop = processes, stop

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.processes is None or self.processes.main

    def map(self, work: Callable[[T], R], pieces: Sequence[T]) -> list[R]:
        """``work(piece)`` of every piece, in order, on every process.

        A piece is computed by one process, the same way whatever their number: the results are the
        same bits for one process and for many.

        Raises:
            Stopped: On all processes, if one of them was told to stop.
        """
        rank, world = (self.processes.rank, self.processes.world) if self.processes else (0, 1)
        done: list[R] = []
        for piece in pieces[rank::world]:
            if self.stop is not None and self.stop.poll():
                break
            done.append(work(piece))
        told = (self.stop and self.stop.reason) or ""
        if self.processes is None or world == 1:
            if told and len(done) < len(pieces):
                raise Stopped(told)
            return done
        everyone = self.processes.gather((done, told))
        if sum(len(part) for part, _ in everyone) < len(pieces):
            raise Stopped(next(reason for _, reason in everyone if reason))
        return _interleaved([part for part, _ in everyone])


ALONE = Share()


def _interleaved(parts: Iterable[Sequence[R]]) -> list[R]:
    """Piece i was done by rank i modulo the number of ranks."""
    parts = list(parts)
    longest = max(map(len, parts))
    return [part[i] for i in range(longest) for part in parts if i < len(part)]


def _sendable(error: Exception) -> Exception:
    """An error as it can be sent to another process: some cannot be rebuilt from their words."""
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))  # our own bytes, a moment ago
        return copy
    except Exception:
        plain = CorekitError(str(error))
        plain.exit_code = getattr(error, "exit_code", 1)
        return plain
