"""What one process at a time may work on, by a lock file: a run that is trained, a folder that a service writes."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from errno import EWOULDBLOCK
from pathlib import Path

from filelock import FileLock, Timeout


def hold(file: Path) -> AbstractContextManager[object]:
    """Keep a lock file for this process, from now on until the context ends. The lock of a dead process is none.

    Args:
        file: that stands for what is held; made, with its folders, and removed at the end.

    Raises:
        BlockingIOError: another one holds it.
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(EWOULDBLOCK, "another process holds it", str(file)) from None
    held = ExitStack()
    held.callback(lock.release)
    held.callback(file.unlink, missing_ok=True)  # while it is held: whoever comes next makes a new one
    return held
