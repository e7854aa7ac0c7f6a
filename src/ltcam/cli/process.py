"""What a command sets for its own process, and what it takes back: signals, threads, warnings, environment.

Libraries change nothing outside of themselves when they are imported; the command line does it here, before any
of them is loaded.
"""

from __future__ import annotations

import math
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from ltcam_runtime.errors import Terminated

_TRY_AGAIN = 0.02  # seconds until an interrupt is delivered that came during an import
_delivered: list[KeyboardInterrupt] = []


@contextmanager
def prepared() -> Iterator[None]:
    """A process that ends cleanly when it is interrupted, and leaves the other programs of the machine their share."""
    with ExitStack() as stack:
        stack.enter_context(_interruptible())
        temporary = tempfile.TemporaryDirectory(prefix="ltcam-", ignore_cleanup_errors=True)
        stack.enter_context(environment_for(stack.enter_context(temporary)))
        stack.enter_context(warnings.catch_warnings())
        # Decoders warn of odd metadata without naming the file; what matters becomes an error that names it.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def environment_for(temporary: str) -> Iterator[None]:
    """What libraries read when they are loaded, unless the user has set it.

    Args:
        temporary: folder for what they would otherwise leave in the user's home.
    """
    values = {
        # Threads that wait spin by default: where others use the machine, that takes the processor from the one
        # thread that all are waiting for.
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "OMP_NUM_THREADS": str(allowed_processors()),
        "MPLCONFIGDIR": temporary,
    }
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def allowed_processors() -> int:
    """Processors that this process may use: of its affinity and of its control group's quota, whichever is less."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not Linux
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota())))


def _quota() -> float:
    """Processors' worth of time that the control group gets, version 2 or 1; infinite where there is no limit."""
    root = Path("/sys/fs/cgroup")
    try:
        limit, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # "max": no limit
        pass
    try:
        limit = (root / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii")
        period = (root / "cpu/cpu.cfs_period_us").read_text(encoding="ascii")
        return int(limit) / int(period) if int(limit) > 0 else math.inf
    except (OSError, ValueError):
        return math.inf


# ------------------------------------------------------------------------------------------ signals


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise an exception, but not inside of an import, which may answer it with anything."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    try:
        # What the parent ignores stays ignored: a command in the background of a script is not for Ctrl-C.
        before = {kind: signal.getsignal(kind) for kind in kinds if signal.getsignal(kind) != signal.SIG_IGN}
        for kind in before:
            signal.signal(kind, _interrupt)
    except ValueError:  # not the main thread: signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        _delivered.clear()


def delivered() -> KeyboardInterrupt | None:
    """The interrupt that has been raised in this process, if one has.

    Compiled code that is interrupted while it calls Python may answer with any error of its own; who catches that
    can ask here what it was.
    """
    return _delivered[-1] if _delivered else None


def _interrupt(kind: int, frame: FrameType | None) -> None:
    if _importing(frame) and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda _, frame: _interrupt(kind, frame))
        signal.setitimer(signal.ITIMER_REAL, _TRY_AGAIN)
        return
    _delivered.append(Terminated() if kind == signal.SIGTERM else KeyboardInterrupt())
    raise _delivered[-1]


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if (
            frame.f_code.co_filename.startswith("<frozen importlib")
            and frame.f_code.co_name == "_find_and_load"
        ):
            return True
        frame = frame.f_back
    return False
