"""Where a command's results go if nobody says: the next free place, which no other command takes meanwhile."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ltcam_runtime.folders import is_being_written

PLACE = Path("runs")
_CHOSEN = (
    "LTCAM_PLACE"  # tells the helpers of a training on several GPUs, which are started with the same words
)


@contextmanager
def free_place(stem: str, within: Path = PLACE, suffix: str = "") -> Iterator[Path]:
    """The first of `runs/STEM`, `runs/STEM-2`, ... that is not there yet and that nobody writes, with a suffix.

    It is kept from other commands until the context ends, or the process.
    """
    if _CHOSEN in os.environ:
        yield Path(os.environ[_CHOSEN])
        return
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    for path in (within / f"{name}{suffix}" for name in names):
        if path.exists() or is_being_written(path):
            continue
        with _reserved(path) as ours:
            if ours:
                os.environ[_CHOSEN] = str(path)
                try:
                    yield path
                finally:
                    del os.environ[_CHOSEN]
                return


@contextmanager
def _reserved(path: Path) -> Iterator[bool]:
    """Whether a path is nobody else's, and still free, from now on. What a dead process reserved is free."""
    from ltcam.runs.holding import hold  # noqa: PLC0415  # not needed where a place is given

    made = not path.parent.exists()
    try:
        held = hold(path.with_name(f".{path.name}.taken"))
    except BlockingIOError:
        yield False
        return
    except OSError:  # nothing can be written there, which is said by those who write
        yield True
        return
    try:
        with held:
            yield not (path.exists() or is_being_written(path))
    finally:
        if made:
            with suppress(OSError):  # results are in it
                path.parent.rmdir()
