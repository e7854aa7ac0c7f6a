"""Work on many image files: in threads, in order, within the memory there is, and none stops the others.

What is begun and not yet taken is bounded by pixels, not by files: a picture that alone is more than the bound
is worked on when nothing else is. Whatever happens to one file becomes its `Outcome`; what concerns all of them
(a run that cannot be used, a disk that is full) is raised.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.decoding import DEFAULT_MAX_PIXELS
from ltcam_runtime.errors import InputError, LtcamError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.image_headers import image_size
from ltcam_runtime.images import read_image
from ltcam_runtime.resizing import resize

BYTES_PER_PIXEL = 200
"""Memory that inspecting and writing one pixel takes at its peak: image, heatmap, mask, regions, pictures."""

READING_BYTES_PER_PIXEL = 24
"""Memory that decoding and resizing one pixel takes at its peak: 16-bit colours in two copies, and the result."""

_log = logging.getLogger(__name__)

_LEAST_PIXELS = 2**23  # what a bound is never below: a machine with less memory can do nothing at all
_SHARE = 3  # of the memory there is, what is begun may take one third: estimates are estimates

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Outcome(Generic[_Result]):
    """What became of one file.

    Attributes:
        name: of the image, as it was given.
        path: of the file.
        value: what was asked for; None if it could not be had.
        reason: why it could not, without the path, fit for a table cell; "" if it could.
    """

    name: str
    path: Path
    value: _Result | None
    reason: str = ""


@dataclass(frozen=True)
class Workers:
    """How much is done at once.

    Attributes:
        count: threads.
        batch_size: files that `then` gets at once, at most.
        bytes_per_pixel: memory that one pixel of a picture takes at its peak, until its outcome is taken.
        pixels: bound of what is begun and not yet taken; None: by the memory there is.
        start: called in each thread before all else.
        size_of: (height, width) of a file, before it is read.
    """

    count: int = 2
    batch_size: int = 1
    bytes_per_pixel: int = BYTES_PER_PIXEL
    pixels: int | None = None
    start: Callable[[], None] = lambda: None
    size_of: Callable[[Path], tuple[int, int]] = image_size

    def bound(self) -> int:
        """The bound in pixels."""
        if self.pixels is not None:
            return self.pixels
        return max(_LEAST_PIXELS, available_memory() // (_SHARE * self.bytes_per_pixel))


def process(
    files: Iterable[tuple[str, Path]],
    read: Callable[[str, Path], _Value],
    then: Callable[[Sequence[_Value]], Sequence[_Result]],
    workers: Workers = Workers(),  # frozen
) -> Iterator[Outcome[_Result]]:
    """Read files and do something with them, in threads; outcomes come in the order of the files.

    Both functions run in a worker. `files` may be endless: it is asked for no more than what is begun.

    Args:
        files: (name, path) pairs of image files.
        read: name and path to a value; raises InputError where the file cannot be used.
        then: the values of a batch to as many results.
        workers: how much at once.

    Yields:
        An outcome per file. The memory of one counts as taken when the next one is asked for.

    Raises:
        LtcamError: one that is no InputError, from `read` or `then`.
    """
    bound = workers.bound()
    weighed = (_weighed(name, path, workers.size_of) for name, path in files)
    batches = _batches(weighed, workers.batch_size, max(1, bound // workers.count))

    def work(batch: Sequence[_File]) -> list[Outcome[_Result]]:
        return _work(batch, read, then)

    with _pool(workers) as pool:
        begun: deque[tuple[_Batch, Future[list[Outcome[_Result]]]]] = deque()
        following = next(batches, None)
        while begun or following is not None:
            while following is not None and len(begun) <= workers.count:
                if begun and following.pixels + sum(batch.pixels for batch, _ in begun) > bound:
                    break  # it waits for those before it
                if following.pixels > bound:
                    following = following.if_it_fits(workers.bytes_per_pixel)
                begun.append((following, pool.submit(work, following.files)))
                following = next(batches, None)
            batch, future = begun[0]
            outcomes = deque(_outcomes(batch, future, [other for _, other in begun], pool, work))
            del future
            while outcomes:
                yield outcomes.popleft()
            begun.popleft()


def read_all(
    files: Iterable[tuple[str, Path]],
    read: Callable[[str, Path], _Result],
    workers: Workers = Workers(bytes_per_pixel=READING_BYTES_PER_PIXEL),  # frozen
) -> Iterator[Outcome[_Result]]:
    """`process` for what needs nothing but each file by itself.

    Args:
        files: (name, path) pairs of image files.
        read: name and path to the result; raises InputError where the file cannot be used.
        workers: how much at once.
    """
    return process(files, read, _as_it_is, workers)


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One file of a longer list as it was read, or why it could not be.

    Attributes:
        name: of the image.
        image: (H, W, 3) uint8 RGB; None if it could not be read.
        resized: the same at the network's size, or None.
        reason: why it could not be read, or "".
    """

    name: str
    image: NDArray[np.uint8] | None
    resized: NDArray[np.uint8] | None
    reason: str = ""


def read_resized(name: str, path: Path, size: tuple[int, int], white: int | None = None) -> ReadImage:
    """An image as it is, and at the network's size.

    Raises:
        InputError: as for `read_image`.
    """
    image = read_image(path, white=white)
    return ReadImage(name, image, resize(image, size))


def read_batches(
    files: Iterable[tuple[str, Path]], size: tuple[int, int], batch_size: int, white: int | None = None
) -> Iterator[list[ReadImage]]:
    """Read any number of images in order, ahead of whoever asks; memory does not grow with their number.

    Args:
        files: (name, path) pairs.
        size: (height, width) of the network.
        batch_size: files per batch.
        white: of 16-bit images, as for `read_image`.
    """
    outcomes = read_all(files, lambda name, path: read_resized(name, path, size, white))
    items = (outcome.value or ReadImage(outcome.name, None, None, outcome.reason) for outcome in outcomes)
    while batch := list(islice(items, batch_size)):
        yield batch


def available_memory() -> int:
    """Bytes that this process can still get: of the machine, its container and its own limit.

    Where none of them can be told, 4 GiB.
    """
    found = [value for value in (_of_machine(), _of_container(), _of_limit()) if value is not None]
    return max(0, min(found, default=4 * 2**30))


# ------------------------------------------------------------------------------------------ batches


@dataclass(frozen=True)
class _File:
    name: str
    path: Path
    pixels: int = 0
    reason: str = ""


@dataclass(frozen=True)
class _Batch:
    files: tuple[_File, ...]

    @property
    def pixels(self) -> int:
        return sum(file.pixels for file in self.files)

    def if_it_fits(self, bytes_per_pixel: int) -> _Batch:
        """The batch; of a file that the memory there is cannot do for, only its name and the reason.

        A system that promises more than it has would end the whole process.
        """
        needed, available = self.pixels * bytes_per_pixel, available_memory()
        if needed <= available:
            return self
        reason = (
            f"{self.pixels:,} pixels need about {needed / 2**30:.1f} GiB of memory, {available / 2**30:.1f} GiB are "
            "free; cut the image into tiles or make it smaller"
        )
        return _Batch(tuple(_File(file.name, file.path, 0, file.reason or reason) for file in self.files))


def _batches(files: Iterable[_File], size: int, pixels: int) -> Iterator[_Batch]:
    """At most so many files, and so many pixels unless it is one file."""
    batch: list[_File] = []
    for file in files:
        if batch and sum(other.pixels for other in batch) + file.pixels > pixels:
            yield _Batch(tuple(batch))
            batch = []
        batch.append(file)
        if len(batch) == size:
            yield _Batch(tuple(batch))
            batch = []
    if batch:
        yield _Batch(tuple(batch))


def _weighed(name: str, path: Path, size_of: Callable[[Path], tuple[int, int]]) -> _File:
    """The file with its number of pixels as its header tells it; 0 where reading will refuse so many."""
    try:
        height, width = size_of(path)
    except InputError as error:
        return _File(name, path, 0, error.reason)
    pixels = height * width
    return _File(name, path, pixels if pixels <= DEFAULT_MAX_PIXELS else 0)


# -------------------------------------------------------------------------------------------- work


@contextmanager
def _pool(workers: Workers) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers.count, initializer=workers.start)
    try:
        yield pool
    finally:  # nobody asks any more: nothing that waits is begun
        pool.shutdown(cancel_futures=True)


def _work(
    batch: Sequence[_File],
    read: Callable[[str, Path], _Value],
    then: Callable[[Sequence[_Value]], Sequence[_Result]],
) -> list[Outcome[_Result]]:
    reasons: list[str] = []
    values: list[_Value] = []
    for file in batch:
        reason = file.reason
        if not reason:
            try:
                values.append(read(file.name, file.path))
            except InputError as error:
                if _lacks_memory(error):
                    raise
                reason = _of_file(error, file)
            except OSError as error:
                reason = why_not_read(error)
        reasons.append(reason)
    results = iter(then(values) if values else ())
    return [
        Outcome(file.name, file.path, None if reason else next(results), reason)
        for file, reason in zip(batch, reasons, strict=True)
    ]


def _outcomes(
    batch: _Batch,
    future: Future[list[Outcome[_Result]]],
    all_begun: Sequence[Future[list[Outcome[_Result]]]],
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[_File]], list[Outcome[_Result]]],
) -> list[Outcome[_Result]]:
    """The outcomes of a batch. Where it failed, each file is tried again with nothing beside it."""
    error = future.exception()
    if error is None:
        return future.result()
    _raise_if_it_concerns_all(error)
    del error  # and the arrays that its traceback holds
    wait(all_begun)
    return [_alone(file, pool.submit(work, [file])) for file in batch.files]


def _alone(file: _File, future: Future[list[Outcome[_Result]]]) -> Outcome[_Result]:
    error = future.exception()
    if error is None:
        return future.result()[0]
    _raise_if_it_concerns_all(error)
    return Outcome(file.name, file.path, None, _words(error, file))


def _raise_if_it_concerns_all(error: BaseException) -> None:
    if isinstance(error, InputError) or _lacks_memory(error):
        return
    if isinstance(error, (LtcamError, OSError)) or not isinstance(error, Exception):
        raise error
    _log.debug("while one image was worked on", exc_info=error)


def _words(error: BaseException, file: _File) -> str:
    if _lacks_memory(error):
        return (
            f"not enough memory for its {file.pixels:,} pixels; cut the image into tiles or make it smaller"
        )
    if isinstance(error, InputError):
        return _of_file(error, file)
    text = str(error).strip().splitlines()
    return f"unexpected {type(error).__name__}: {text[0] if text else ''} (this is a fault in ltcam)"


def _of_file(error: InputError, file: _File) -> str:
    """The reason; with its path where it is another file's, such as the image's mask."""
    return error.reason if error.path in (file.path, Path(file.name)) else str(error)


def _lacks_memory(error: BaseException | None) -> bool:
    """Whether memory ran out: libraries say so in classes and words of their own."""
    while error is not None:
        words = str(error).lower()
        if isinstance(error, MemoryError) or any(
            said in words for said in ("out of memory", "can't allocate memory", "insufficient memory")
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _as_it_is(values: Sequence[_Result]) -> Sequence[_Result]:
    return values


# ------------------------------------------------------------------------------------------ memory


def _of_machine() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(AttributeError, ValueError, OSError):  # not Linux: half of all there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _of_container() -> int | None:
    """What the control group leaves, version 2 or 1."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is no number: there is no limit
            return int(Path(limit).read_text()) - int(Path(used).read_text())
    return None


def _of_limit() -> int | None:
    """What `ulimit -v` leaves."""
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource  # noqa: PLC0415  # Windows has none

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            return limit - pages * resource.getpagesize()
    return None
