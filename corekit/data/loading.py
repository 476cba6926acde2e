"""From a split to batches: the same bits for any number of workers, resumable at any step."""

from __future__ import annotations

import multiprocessing.connection
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from corekit.errors import CorekitError, DataError, UsageError
from corekit.interfaces.dataset import Item, Split
from corekit.interfaces.draws import seed_of
from corekit.interfaces.records import Batch, Condition

Key = tuple[int, int]
"""(epoch, index): with the seed, all that an example of training depends on."""


def item_rng(seed: int, *key: int | str) -> np.random.Generator:
    """The random numbers of one example: a function of the seed and the key alone."""
    return np.random.Generator(np.random.PCG64(seed_of(seed, "item", *key)))


class CounterSampler:
    """Endless batches of (epoch, index): step s is a function of (seed, s), so resuming is free.

    The order of epoch e is a permutation drawn from (seed, e). An epoch is as many whole batches as
    it has room for: the examples left over change from epoch to epoch. A set smaller than one
    batch fills it by going through further epochs, so a batch is never short (batch
    normalisation fails on one row), and an example seen twice in a batch is drawn anew.

    Args:
        size: Examples in the set.
        batch_size: Rows per step, over all processes.
        seed: Of the order.
        start_step: The first step to give.
        rank, world: Which of how many processes: the ranks' rows, one after another, are the batch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if size < 1:
            raise DataError(f"CounterSampler: the set must have an example, got {size}.")
        if batch_size < 1 or batch_size % world:
            raise UsageError(
                f"CounterSampler: batch_size must be a multiple of the {world} processes, "
                f"got {batch_size}."
            )
        self.size, self.batch_size, self.seed, self.start_step = size, batch_size, seed, start_step
        self.rank, self.world = rank, world
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; 1 where the set is smaller than a batch."""
        return max(1, self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.start_step
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> list[Key]:
        """The rows of this process at a step."""
        local = self.batch_size // self.world
        first = self.rank * local
        if self.size >= self.batch_size:
            epoch, position = divmod(step, self.steps_per_epoch)
            first += position * self.batch_size
            return [(epoch, int(i)) for i in self.order(epoch)[first : first + local]]
        first += step * self.batch_size
        places = (divmod(p, self.size) for p in range(first, first + local))
        return [(epoch, int(self.order(epoch)[position])) for epoch, position in places]

    def order(self, epoch: int) -> np.ndarray:
        """The permutation of an epoch, int64 ``(size,)``."""
        if self._order[0] != epoch:
            rng = np.random.default_rng(seed_of(self.seed, "order", epoch))
            self._order = epoch, rng.permutation(self.size)
        return self._order[1]


Read = tuple[Item, int] | CorekitError


class _View(TorchDataset[Read]):
    """A split as torch's loader wants it: (epoch, index) -> (example, index), or its error."""

    def __init__(self, split: Split, seed: int) -> None:
        self.split = split
        self.seed = seed

    def __getitems__(self, keys: list[Key]) -> list[Read] | Batch | CorekitError:
        """A batch, all at once where the split can."""
        try:
            whole = self.split.get_batch([index for _, index in keys])
        except CorekitError as error:
            return error
        return [self[key] for key in keys] if whole is None else whole

    def __getitem__(self, key: Key) -> Read:
        try:
            return self.split.get(key[1], item_rng(self.seed, *key)), key[1]
        except CorekitError as error:  # raised by the loader: the same words for any `workers`
            return error


class Loader:
    """Endless training batches of a split, from ``start_step`` on.

    The batch of a step is a function of (seed, step): the same bits with any number of workers, and
    no number is drawn from torch's or NumPy's global generator.

    Args:
        split: Where examples come from.
        batch_size: Rows per step, over all processes.
        seed: Of the order and of all choices within examples.
        start_step: The step to begin with: how many steps were done before.
        rank, world: Which of how many processes.
        workers: Reading processes; 0 reads in this one.
        pin_memory: Put batches in page-locked memory, for a GPU.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int,
        start_step: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.sampler = CounterSampler(
            len(split), batch_size, seed, start_step, rank=rank, world=world
        )
        self._loader = DataLoader(
            _View(split, seed),
            batch_sampler=self.sampler,
            num_workers=workers,
            collate_fn=_collate_or_error,
            pin_memory=pin_memory,
            worker_init_fn=_leave_signals_to_the_trainer,
            generator=torch.Generator().manual_seed(0),  # private: torch draws a base seed
        )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; 1 where the set is smaller than a batch."""
        return self.sampler.steps_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        """The batches.

        Raises:
            DataError: An example cannot be read, or a process that reads died.
        """
        with _no_exception_out_of_nowhere():
            batches: Any = iter(self._loader)
        if self._loader.num_workers:
            batches._workers_done_event = _Done(batches)
        try:
            while True:
                batch = self._next(batches)
                if isinstance(batch, CorekitError):
                    raise batch
                yield batch
        finally:  # workers ignore the signal by which Python would end them at its exit
            if self._loader.num_workers:
                batches._shutdown_workers()

    def _next(self, batches: Any) -> Any:
        try:
            return next(batches)
        except Exception as error:
            # Whoever hangs up in the middle of a word is dying, however busy the machine is.
            hung_up = isinstance(error, (ConnectionError, EOFError))
            dead = _dead(batches, 30.0 if hung_up else 1.0)
            if not dead:
                raise
            ended = ", ".join(
                f"process {worker.pid} with code {worker.exitcode}" for worker in dead
            )
            raise DataError(
                f"Loader: every process that reads must stay alive, got the end of {ended}. Go on "
                "with --resume, perhaps with fewer train.workers: a lack of memory kills them."
            ) from error


def fixed_batches(
    split: Split, seed: int, batch_size: int, rows: Sequence[int] | None = None
) -> Iterator[Batch]:
    """All examples (or some rows) once, in order, for evaluation; the last batch may be short.

    An example depends on (seed, row) alone: not on the batch size, nor on the other rows.
    """
    rows = range(len(split)) if rows is None else [int(row) for row in rows]
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        whole = split.get_batch(part)
        yield whole or collate(
            [(split.get(row, item_rng(seed, "fixed", row)), row) for row in part]
        )


def collate(examples: Sequence[tuple[Item, int]]) -> Batch:
    """Examples and their row numbers as one `Batch`."""
    items = [item for item, _ in examples]
    conditions = [item.condition for item in items]
    condition = None
    if conditions[0] is not None:
        fields = zip(*conditions, strict=True)
        condition = Condition(*(None if f[0] is None else torch.stack(f) for f in fields))
    index = torch.tensor([row for _, row in examples])
    return Batch(torch.stack([item.x for item in items]), condition, index)


class _Done:
    """Stands for the event by which torch tells the processes that read to leave.

    A process that was killed may have died with the lock of that event, for which torch would wait
    without end. This asks for the lock only while all of them live, and kills them otherwise.
    """

    def __init__(self, batches: Any) -> None:
        self._event, self._batches = batches._workers_done_event, batches
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        if _dead(self._batches, patience=0):
            for worker in self._batches._workers:
                worker.kill()
        else:
            self._event.set()


def _dead(batches: Any, patience: float) -> list[Any]:
    """The processes that were to read and have failed; some seconds may pass until they have."""
    workers = getattr(batches, "_workers", ())
    if workers and patience:  # without any, it would wait for nothing
        multiprocessing.connection.wait([worker.sentinel for worker in workers], patience)
    return [worker for worker in workers if worker.exitcode]


@contextmanager
def _no_exception_out_of_nowhere() -> Iterator[None]:
    """Keep torch from raising the death of a worker wherever the program happens to be.

    Its handler of SIGCHLD would, in the middle of saving too. Without it torch finds the dead one
    when it waits for data of it, within five seconds.
    """
    handled = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if handled else None
    try:
        yield
    finally:
        if handled:
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def _leave_signals_to_the_trainer(worker: int) -> None:
    """A scheduler signals all processes of a job: loading goes on while the trainer saves."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _collate_or_error(examples: list[Read] | Batch | CorekitError) -> Batch | CorekitError:
    if not isinstance(examples, list):
        return examples
    errors = [example for example in examples if isinstance(example, CorekitError)]
    return errors[0] if errors else collate(examples)  # type: ignore[arg-type]
