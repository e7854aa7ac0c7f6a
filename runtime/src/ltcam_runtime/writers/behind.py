"""Results written in a thread of their own, so that the network need not wait for the disk."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.errors import LtcamError
from ltcam_runtime.results import Inspection, Verdict
from ltcam_runtime.writers.protocol import ResultWriter

_MOST_PIXELS = 2**24  # that may wait for the disk before inspecting waits for it too; one image always may


@dataclass(frozen=True, eq=False)
class _Item:
    """An inspection with its image, or a name with the reason of its failure."""

    name: str
    reason: str = ""
    found: tuple[Inspection, NDArray[np.uint8]] | None = None

    @property
    def pixels(self) -> int:
        return 0 if self.found is None else self.found[0].size[0] * self.found[0].size[1]


class Behind:
    """Hands results to a writer in another thread, in their order.

    Attributes:
        verdicts: number of images per verdict, of those written so far.
        failed: (image, reason) of failures, those of writing one image's results among them.
    """

    def __init__(self, writer: ResultWriter) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.failed: list[tuple[str, str]] = []
        self._writer = writer
        self._waiting: deque[_Item | None] = deque()
        self._pixels = 0
        self._changed = threading.Condition()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:
        """Have one inspection written; waits while many pixels wait.

        Raises:
            OSError: of writing an earlier one.
        """
        self._put(_Item(inspection.image, found=(inspection, image)))

    def add_failure(self, image: str, reason: str) -> None:
        """Have an image noted that could not be inspected.

        Raises:
            OSError: of writing an earlier one.
        """
        self._put(_Item(image, reason))

    def finish(self) -> None:
        """Wait until all is written; says nothing of problems."""
        with self._changed:
            self._waiting.append(None)
            self._changed.notify_all()
        self._thread.join()

    def raise_problem(self) -> None:
        """Raise what kept results from being written, if anything did."""
        if self._problem is not None:
            raise self._problem

    def _put(self, item: _Item) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._pixels == 0 or self._pixels + item.pixels <= _MOST_PIXELS)
            self.raise_problem()
            self._waiting.append(item)
            self._pixels += item.pixels
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                item = self._waiting.popleft()
            if item is None:
                return
            try:
                if self._problem is None:  # after one, the queue is only kept moving
                    self._write(item)
            except BaseException as error:  # raised again in the calling thread
                self._problem = error
            pixels = item.pixels
            del item  # and its pictures
            with self._changed:
                self._pixels -= pixels
                self._changed.notify_all()

    def _write(self, item: _Item) -> None:
        reason = item.reason
        if item.found is not None:
            try:
                self._writer.add(*item.found)
            except (LtcamError, OSError):
                raise  # the place that it is written to is to blame, which is the others' too
            except Exception as error:
                reason = _words(error)
            else:
                self.verdicts[item.found[0].verdict] += 1
                return
        self._writer.add_failure(item.name, reason)
        self.failed.append((item.name, reason))


@contextmanager
def writing_behind(writer: ResultWriter) -> Iterator[Behind]:
    """A `Behind` whose results are all written when the block ends.

    Raises:
        OSError: results cannot be written.
    """
    behind = Behind(writer)
    try:
        yield behind
    finally:
        behind.finish()
    behind.raise_problem()


def _words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to write its results; cut the image into tiles or make it smaller"
    text = str(error).strip().splitlines()
    return f"its results cannot be written: {text[0] if text else type(error).__name__}"
