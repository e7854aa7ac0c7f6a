"""What one process at a time may work on, by a lock file: a run that is trained, a folder that a service writes."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, suppress
from errno import ENOSYS, EWOULDBLOCK
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
    except NotImplementedError as error:
        raise OSError(ENOSYS, f"the disk knows no locks: {error}", str(file)) from error
    held = ExitStack()
    held.callback(lock.release)
    held.callback(_remove, file)  # while it is held: whoever comes next makes a new one
    return held


def _remove(file: Path) -> None:
    """A lock file that stays where it cannot be removed (Windows does not remove an open one) holds nobody up."""
    with suppress(OSError):
        file.unlink()
