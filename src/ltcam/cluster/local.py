"""The local engine: processes of this machine, each with its own model; a killed one is replaced."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ltcam.cluster.generations import Task
from ltcam_runtime.errors import OutputError

Make = Callable[[Task], int]
"""Makes a shard and commits it; returns its number."""

_MOST_BREAKS = 10
_make: Make | None = None


@dataclass(frozen=True)
class LocalEngine:
    """Processes on this machine.

    Attributes:
        open_maker: called once in each process; loads the model there. Must be picklable.
        processes: how many.
    """

    open_maker: Callable[[], Make]
    processes: int = 1

    def __call__(self, tasks: Sequence[Task]) -> Iterator[int]:
        """Make the shards; where a process is killed, its shards are made again by another.

        Raises:
            OutputError: processes are killed again and again (no memory left, most likely).
        """
        left = list(tasks)
        for _ in range(_MOST_BREAKS):
            done: set[int] = set()
            try:
                for number in self._work(left):
                    done.add(number)
                    yield number
                return
            except BrokenProcessPool:
                left = [task for task in left if task.number not in done]
        raise OutputError(
            f"worker processes were killed {_MOST_BREAKS} times; is memory short? give fewer `processes`"
        )

    def _work(self, tasks: Sequence[Task]) -> Iterator[int]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.processes, context, _start, (self.open_maker,)) as pool:
            waiting = iter(tasks)
            under_way: set[Future[int]] = set()
            # A few ahead of the processes only: the driver's memory does not grow with the archive.
            for task in waiting:
                under_way.add(pool.submit(_work_on, task))
                if len(under_way) >= 2 * self.processes:
                    finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            while under_way:
                finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)


def _start(open_maker: Callable[[], Make]) -> None:
    global _make  # noqa: PLW0603  # one per process; the pool has no other place for it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _make = open_maker()


def _work_on(task: Task) -> int:
    assert _make is not None  # noqa: S101  # set by `_start`
    return _make(task)
