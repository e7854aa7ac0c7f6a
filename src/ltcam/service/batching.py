"""Many requests, few passes of the network: images are gathered for a moment, inspected together, and kept.

Two threads: one asks the network, one writes files and commits records of the batch before. A request is answered
when its record is committed. What waits is bounded; beyond that a request is turned away at once instead of making
everybody wait longer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Given = TypeVar("Given")
Inspected = TypeVar("Inspected")
Kept = TypeVar("Kept")


class BusyError(Exception):
    """More is waiting than the network gets through in reasonable time.

    Attributes:
        retry_after: seconds after which it is worth asking again, at least 1.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many images are waiting; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Budget:
    """How long images are gathered and how many may wait.

    Attributes:
        batch_size: most images in one pass of the network.
        gather_seconds: how long the first image of a batch waits for others; 0 takes what is there.
        most_waiting: images that may wait for the network; more are turned away.
    """

    batch_size: int = 16
    gather_seconds: float = 0.005
    most_waiting: int = 64


@dataclass
class Passes:
    """What the batcher has done so far, for the metrics. Written by its threads only."""

    images: int = 0
    batches: int = 0
    seconds: float = 0.0
    turned_away: int = 0


@dataclass(frozen=True)
class _Waiting(Generic[Given, Kept]):
    item: Given
    answer: Future[Kept] = field(default_factory=Future)


class Batcher(Generic[Given, Inspected, Kept]):
    """Gathers items, inspects them in batches and keeps the results; `submit` gives a future per item."""

    def __init__(
        self,
        inspect: Callable[[Sequence[Given]], Sequence[Inspected]],
        keep: Callable[[Sequence[Given], Sequence[Inspected]], Sequence[Kept]],
        budget: Budget,
    ) -> None:
        """Start the threads.

        Args:
            inspect: a batch to as many results; called from one thread only.
            keep: stores a batch and its results and returns as many answers; called from one other thread only.
            budget: limits.
        """
        self.budget = budget
        self.passes = Passes()
        self._inspect, self._keep = inspect, keep
        self._incoming: queue.Queue[_Waiting[Given, Kept] | None] = queue.Queue(budget.most_waiting)
        self._inspected: queue.Queue[tuple[list[_Waiting[Given, Kept]], Sequence[Inspected]] | None] = (
            queue.Queue(2)
        )
        self._closed, self._closing = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._inspecting, name="ltcam-network", daemon=True),
            threading.Thread(target=self._keeping, name="ltcam-history", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Images that wait for the network now."""
        return self._incoming.qsize()

    def submit(self, item: Given) -> Future[Kept]:
        """Put an item in line.

        Raises:
            BusyError: the line is full, or closed.
        """
        waiting: _Waiting[Given, Kept] = _Waiting(item)
        # What is in line is inspected and kept, even if nobody waits for the answer any more.
        waiting.answer.set_running_or_notify_cancel()
        with self._closing:  # nothing comes behind the mark of the end, where nobody would answer it
            if self._closed.is_set():
                raise BusyError(5.0)
            try:
                self._incoming.put_nowait(waiting)
            except queue.Full:
                self.passes.turned_away += 1
                raise BusyError(self._seconds_left()) from None
        return waiting.answer

    def close(self) -> None:
        """Finish what is in line and stop. Nothing more is taken."""
        with self._closing:
            first = not self._closed.is_set()
            self._closed.set()
        if first:
            self._incoming.put(None)
        for thread in self._threads:
            thread.join()

    def _seconds_left(self) -> float:
        per_image = self.passes.seconds / self.passes.images if self.passes.images else 0.1
        return max(1.0, self.budget.most_waiting * per_image)

    def _gather(self, first: _Waiting[Given, Kept]) -> tuple[list[_Waiting[Given, Kept]], bool]:
        """A batch that begins with `first`, and whether the end of the line was met."""
        batch = [first]
        until = time.monotonic() + self.budget.gather_seconds
        while len(batch) < self.budget.batch_size:
            try:
                found = self._incoming.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if found is None:
                return batch, True
            batch.append(found)
        return batch, False

    def _inspecting(self) -> None:
        ended = False
        while not ended:
            first = self._incoming.get()
            if first is None:
                break
            batch, ended = self._gather(first)
            started = time.perf_counter()
            try:
                results = self._inspect([waiting.item for waiting in batch])
            except BaseException as error:  # told to those who asked; the others go on
                _refuse(batch, error)
                continue
            self.passes.images += len(batch)
            self.passes.batches += 1
            self.passes.seconds += time.perf_counter() - started
            self._inspected.put((batch, results))
        self._inspected.put(None)

    def _keeping(self) -> None:
        while (found := self._inspected.get()) is not None:
            batch, results = found
            try:
                answers = self._keep([waiting.item for waiting in batch], results)
            except BaseException as error:
                _refuse(batch, error)
                continue
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.answer.set_result(answer)


def _refuse(batch: Sequence[_Waiting[Given, Kept]], error: BaseException) -> None:
    for waiting in batch:
        waiting.answer.set_exception(error)
